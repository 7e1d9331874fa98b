//! The keys of the memory API of every engine.

use super::{Engine, NOW};
use crate::store::ApiKey;

fn key(name: &str, byte: u8) -> ApiKey {
    ApiKey {
        name: name.into(),
        hash: [byte; 32],
        admin: byte > 1,
        rate: 7,
        created_at: NOW,
        last_used_at: None,
    }
}

pub(crate) async fn a_key_is_kept_until_it_is_removed(engine: &impl Engine) {
    let store = engine.open();
    assert_eq!(store.add_key(key("b", 1)).await, Ok(true));
    assert_eq!(store.add_key(key("a", 2)).await, Ok(true));
    assert_eq!(store.add_key(key("a", 3)).await, Ok(false), "the name is taken");
    store
        .note_key_uses(vec![([1; 32], NOW + 5), ([1; 32], NOW + 4), ([9; 32], NOW)])
        .await
        .unwrap();
    drop(store);
    let store = engine.open();
    let used = ApiKey { last_used_at: Some(NOW + 5), ..key("b", 1) };
    assert_eq!(store.keys().await, Ok(vec![key("a", 2), used]));
    assert_eq!(store.remove_key("b").await, Ok(true));
    assert_eq!(store.remove_key("b").await, Ok(false));
    assert_eq!(store.keys().await, Ok(vec![key("a", 2)]));
}
