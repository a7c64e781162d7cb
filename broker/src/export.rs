//! Handing the ledger out. Each export is an entry, made before the bundle.

use std::fs::File;

use serde_json::Map;
use stint_audit::kind::{Admin, AdminOp};

use crate::issue::Broker;
use crate::ledger::{self, ExportError, Range};

impl Broker {
    /// The bundle of `range`, for an operator on the socket.
    ///
    /// # Errors
    /// [`ExportError`]; an export that cannot be recorded does not happen.
    pub async fn export(&self, range: Range) -> Result<File, ExportError> {
        let exported = Admin {
            n: None,
            of: None,
            op: AdminOp::Exported,
        };
        let entry = ledger::note(exported, None, Map::new());
        self.ledger.record(entry, None, Vec::new()).await?;
        let now = u64::try_from(self.clock.now().as_millis()).unwrap_or(0);
        self.ledger.bundle(range, now).await
    }
}
