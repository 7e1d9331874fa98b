//! Who has memories.

use serde_json::{Value, json};

use super::error::Refusal;
use super::lists::Page;
use super::{Answer, Call, MemoryApi, ok, records};
use crate::store::{Entity, EntitySummary, Scope, Selection};

impl MemoryApi {
    /// `GET /entities`
    pub(super) async fn entities_at_server(&self, call: &Call) -> Answer {
        call.needs_admin()?;
        let known = self.memory.entities().await?;
        let known = known.iter().filter(|it| it.entity != Entity::App);
        ok(known
            .map(|it| {
                let time = |millis| records::time(millis).replace("+00:00", "Z");
                json!({
                    "id": it.id,
                    "type": it.entity.name(),
                    "total_memories": it.memories,
                    "created_at": time(it.created_at),
                    "updated_at": time(it.updated_at),
                })
            })
            .collect())
    }

    /// `GET /v1/entities/`
    pub(super) async fn entities(&self, call: &Call) -> Answer {
        call.needs_admin()?;
        let known = self.memory.entities().await?;
        let total = |entity| known.iter().filter(|it: &&EntitySummary| it.entity == entity).count();
        let page = Page::of(&call.query)?;
        let part = page.map(Page::part);
        let shown = known
            .iter()
            .skip(part.map_or(0, |part| part.offset))
            .take(part.map_or(usize::MAX, |part| part.limit));
        let results: Vec<Value> = shown.map(records::entity).collect();
        let mut answer = match page {
            Some(page) => page.envelope(call, "/v1/entities/", known.len(), results),
            None => {
                json!({"count": known.len(), "next": null, "previous": null, "results": results})
            }
        };
        for entity in Entity::ALL {
            answer[format!("total_{}s", entity.name())] = total(entity).into();
        }
        ok(answer)
    }

    /// `DELETE /entities/{type}/{name}` and its versions 1 and 2
    pub(super) async fn delete_entity(&self, call: &Call, at_server: bool) -> Answer {
        let (kind, name) = (call.found.part("type"), call.found.part("name"));
        let Some(entity) = Entity::named(kind) else {
            return Err(Refusal::unprocessable("type", "Input should be user, agent, app or run"));
        };
        // A slash at the end of the address is none of the name's.
        let scope = Scope::of(entity, name)?;
        let count = self.memory.remove(&Selection::of(&scope)).await?;
        let message = if at_server { "Entity deleted" } else { "Entity deleted successfully!" };
        ok(json!({"message": message, "count": count}))
    }
}
