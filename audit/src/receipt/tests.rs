use super::{Proof, ProofError};
use crate::chain::tests::{commit, genesis, grant, log_key};
use crate::{Head, Receipt};

fn receipts() -> Vec<Receipt> {
    let batch = Head::empty("stint.example/ledger", 0)
        .extend("a", 5, vec![genesis(), grant(1), grant(2)])
        .unwrap();
    commit(batch).receipts
}

#[test]
fn a_receipt_verifies_alone() {
    let keys = [log_key().public().clone()];
    for receipt in receipts() {
        let text = receipt.proof_text();
        let proof: Proof = text.parse().unwrap();
        assert_eq!(proof.to_string(), text);
        let proven = proof.verify(&keys).unwrap();
        assert_eq!(proven.header, *receipt.header());
        assert_eq!(proven.leaf, *receipt.leaf());
        assert_eq!(proven.checkpoint.size, 3);
    }
}

#[test]
fn a_foreign_receipt_proves_nothing() {
    let proof: Proof = receipts()[1].proof_text().parse().unwrap();
    assert!(matches!(proof.verify(&[]), Err(ProofError::Unsigned(_))));
    let keys = [log_key().public().clone()];
    let mut other = proof.clone();
    other.index = 2;
    assert!(matches!(other.verify(&keys), Err(ProofError::Place)));
    let mut other = proof.clone();
    other.path.reverse();
    other.path.pop();
    assert!(matches!(other.verify(&keys), Err(ProofError::Inclusion(1))));
    let mut other = proof.clone();
    other.extra = None;
    assert!(matches!(other.verify(&keys), Err(ProofError::NoHeader)));
    let mut other = proof.clone();
    other.checkpoint = other.checkpoint.replace("\n3\n", "\n4\n");
    assert!(matches!(other.verify(&keys), Err(ProofError::Signature(_))));
    let mut other = proof;
    let at = other.extra.as_ref().unwrap().len() - 3;
    other.extra.as_mut().unwrap()[at] ^= 1;
    assert!(other.verify(&keys).is_err());
}

#[test]
fn refuses_malformed_texts() {
    let good = receipts()[1].proof_text();
    for (from, to) in [
        ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2"),
        ("index 1", "index 01"),
        ("index 1\n", ""),
        ("extra ", "extra !"),
        ("index 1\n", "index 1\nshort=\n"),
        ("\n\n", "\n"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        let refused = bad.parse::<Proof>();
        let refused = refused.is_err_and(|error| matches!(error, ProofError::Form(_)));
        assert!(refused || from == "\n\n", "{bad}");
    }
    let hashes = format!("index 1\n{}", format!("{}=\n", "A".repeat(43)).repeat(64));
    assert!(good.replace("index 1\n", &hashes).parse::<Proof>().is_err());
}
