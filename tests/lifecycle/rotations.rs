//! `stintd keys`: one key of the log takes over from another, and nobody who pinned the old one is left behind.

use stint_audit::Checkpoint;

use crate::scene::{broker, grant, keep, stintd, vkey};

#[tokio::test]
async fn a_new_key_takes_over_and_the_old_one_hands_over() {
    let mut broker = broker().await;
    grant(&broker).await;
    let before = keep(&broker, "before").await;
    broker.stop().await;
    let said = stintd(&broker, &["keys", "rotate", "ledger"]).await.ok();
    assert!(
        said.contains("ledger-0-2.key") && said.contains("handover"),
        "{said}"
    );
    stintd(&broker, &["keys", "rotate", "ledger"])
        .await
        .refused("two keys sign already");
    let listed = stintd(&broker, &["keys", "ls"]).await.ok();
    assert!(
        listed.contains("ledger.key\t") && listed.contains("ledger-0-2.key\t"),
        "{listed}"
    );

    broker.restart().await.unwrap();
    grant(&broker).await;
    assert_ne!(vkey(&broker).await, before.vkey);
    let overlap = keep(&broker, "overlap").await;
    let (_, note) =
        Checkpoint::parse_note(&std::fs::read_to_string(&overlap.note).unwrap()).unwrap();
    assert_eq!(note.signatures().len(), 2, "both keys sign");
    overlap.extends(&before).await;
    overlap.verify(&[]).await.ok();

    broker.stop().await;
    stintd(&broker, &["keys", "retire", "ledger"])
        .await
        .refused("wait, or say `--now`");
    stintd(&broker, &["keys", "retire", "ledger", "--now"])
        .await
        .refused("--reason");
    let urgent = [
        "keys",
        "retire",
        "ledger",
        "--now",
        "--reason",
        "left on a laptop",
    ];
    stintd(&broker, &urgent).await.ok();
    stintd(&broker, &urgent)
        .await
        .refused("there is nothing to retire");
    broker.restart().await.unwrap();
    grant(&broker).await;

    let after = keep(&broker, "after").await;
    let (_, note) = Checkpoint::parse_note(&std::fs::read_to_string(&after.note).unwrap()).unwrap();
    assert_eq!(note.signatures().len(), 1, "the old one signs no more");
    after.extends(&before).await;
    after.verify(&[]).await.ok();
    before.verify(&[]).await.ok();
    overlap.verify_under(&before.vkey, &[]).await.ok();
    let export = broker.export().await;
    assert_eq!(
        export.of("key_retired")[0].body["what"]["reason"],
        "left on a laptop"
    );
    broker.finish().await;
}
