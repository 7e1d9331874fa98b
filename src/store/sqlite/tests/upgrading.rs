//! A store that an older program filled.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

use super::Place;
use crate::memory::indexing;
use crate::store::sqlite::schema;
use crate::store::{Asked, Scope, Selection, Store};

/// A store with the second layout, in which a memory has a term of those it has now, and one that it
/// has no longer.
fn second_layout() -> Place {
    let place = Place::new();
    drop(place.store());
    std::fs::remove_file(place.file()).unwrap();
    let mut older = Connection::open(place.file()).unwrap();
    schema::configure(&older, &place.file()).unwrap();
    schema::migrate_to(&mut older, 2).unwrap();
    older
        .execute_batch(
            "INSERT INTO owners (id, user_id, last_number, memories, terms)
             VALUES (1, 'ann', 1, 1, 2);
             INSERT INTO memories (id, owner, number, text, terms, created_at)
             VALUES ('m', 1, 1, '小王：我喝茶', 2, 0);
             INSERT INTO postings VALUES (1, '喝茶', 1, 1, 2), (1, 'gone', 1, 1, 2);",
        )
        .unwrap();
    place
}

/// How often each term occurs, and who speaks.
async fn known(store: &dyn Store, terms: [&str; 3]) -> (Vec<usize>, u64, Vec<String>) {
    let asked = Asked { terms: terms.map(str::to_owned).to_vec(), vector: None };
    let (tell, told) = std::sync::mpsc::channel();
    let rank = move |found: &[crate::store::Evidence]| {
        let postings = found[0].postings.iter().map(|it| it.len()).collect();
        tell.send((postings, found[0].terms, found[0].names.to_vec())).unwrap();
        Vec::new()
    };
    let ann = Selection::of(&Scope::user("ann").unwrap());
    store.find_memories(&ann, asked, Box::new(rank)).await.unwrap();
    told.recv().unwrap()
}

#[tokio::test]
async fn its_memories_are_indexed_anew() {
    let place = second_layout();
    let store: Arc<dyn Store> = Arc::new(place.store());
    let terms = ["喝茶", "茶", "gone"];
    assert_eq!(known(&*store, terms).await, (vec![1, 0, 1], 2, vec![]));
    let stop = CancellationToken::new();
    let run = tokio::spawn(indexing::run(Arc::clone(&store), stop.clone()));
    let indexed = async {
        while !store.unindexed(1).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), indexed).await.unwrap();
    // Three characters with two pairs, and the name with its pair.
    assert_eq!(known(&*store, terms).await, (vec![1, 1, 0], 8, vec!["小 小王 王".to_owned()]));
    assert!(!run.is_finished());
    stop.cancel();
    run.await.unwrap();
}
