//! Lists of memories, whole or page by page.

use serde_json::{Value, json};

use super::error::Refusal;
use super::fields::Fields;
use super::paths::Place;
use super::searches::Unscoped;
use super::{Answer, Call, MemoryApi, ok, records};
use crate::memory::filter::Dialect;
use crate::store::{Part, Selection};

/// Most memories of a list.
const MOST: usize = 1_000;
/// Memories on a page, unless another number is asked for.
const PAGE_SIZE: usize = 100;
/// Most pages a list can have.
const MAX_PAGE: usize = 1_000_000;

/// A page that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    number: usize,
    size: usize,
}

impl Page {
    /// The page that the parameters name; `None`: they name none.
    pub(super) fn of(fields: &Fields) -> Result<Option<Self>, Refusal> {
        let number = fields.count("page", 1, MAX_PAGE)?;
        let size = fields.count("page_size", 1, MOST)?;
        Ok((number.is_some() || size.is_some())
            .then(|| Self { number: number.unwrap_or(1), size: size.unwrap_or(PAGE_SIZE) }))
    }

    pub(super) fn part(self) -> Part {
        Part { offset: (self.number - 1) * self.size, limit: self.size }
    }

    /// A page with its neighbours' addresses.
    pub(super) fn envelope(
        self,
        call: &Call,
        path: &str,
        count: usize,
        results: Vec<Value>,
    ) -> Value {
        let host = call.host.as_deref().unwrap_or("localhost");
        let at =
            |number: usize| format!("http://{host}{path}?page={number}&page_size={}", self.size);
        let next = (self.number * self.size < count).then(|| at(self.number + 1));
        let previous = (self.number > 1).then(|| at(self.number - 1));
        json!({"count": count, "next": next, "previous": previous, "results": results})
    }
}

impl Default for Page {
    fn default() -> Self {
        Self { number: 1, size: PAGE_SIZE }
    }
}

impl MemoryApi {
    /// `GET /memories`
    pub(super) async fn list_at_server(&self, call: &Call) -> Answer {
        let fields = &call.query;
        let (scope, any) = fields.scope()?;
        let unscoped = scope.is_everything() && any.is_empty();
        let limit = match fields.count("top_k", 0, MOST)? {
            Some(limit) => limit,
            None => fields.count("limit", 0, MOST)?.unwrap_or(if unscoped { MOST } else { 20 }),
        };
        let selection = self.selection(call, fields, Dialect::Server, Unscoped::Everybody)?;
        let (records, _) = self.memory.select(&selection, Part::first(limit)).await?;
        let results: Vec<Value> = records.iter().map(|it| records::item(it, None)).collect();
        ok(json!({ "results": results }))
    }

    /// `GET /v1/memories/`
    pub(super) async fn list_v1(&self, call: &Call) -> Answer {
        let page = Page::of(&call.query)?;
        let limit = call.query.count("limit", 0, MOST)?;
        let wrapped = call.query.text("output_format")? == Some("v1.1");
        self.list(call, &call.query, page, limit, wrapped, "/v1/memories/").await
    }

    /// `POST /v2/memories/` and `POST /v3/memories/`
    pub(super) async fn list_by_filters(&self, call: &Call) -> Answer {
        let fields = Fields::of_body(&call.body)?;
        let page = match Page::of(&call.query)? {
            Some(page) => Some(page),
            None => Page::of(&fields)?,
        };
        let limit = fields.count("limit", 0, MOST)?.or(fields.count("top_k", 0, MOST)?);
        if call.found.place == Place::MemoriesV3 {
            let page = page.unwrap_or(Page { size: limit.unwrap_or(PAGE_SIZE).max(1), number: 1 });
            return self.list(call, &fields, Some(page), None, true, "/v3/memories/").await;
        }
        let wrapped = fields.text("output_format")? == Some("v1.1");
        self.list(call, &fields, page, limit, wrapped, "/v2/memories/").await
    }

    async fn list(
        &self,
        call: &Call,
        fields: &Fields,
        page: Option<Page>,
        limit: Option<usize>,
        wrapped: bool,
        path: &str,
    ) -> Answer {
        let selection: Selection =
            self.selection(call, fields, Dialect::Platform, Unscoped::Refused)?;
        let part = page.map_or(Part::first(limit.unwrap_or(PAGE_SIZE)), Page::part);
        let (records, count) = self.memory.select(&selection, part).await?;
        let results: Vec<Value> = records.iter().map(|it| records::memory(it, None)).collect();
        ok(match page {
            Some(page) => page.envelope(call, path, count, results),
            None if wrapped => json!({ "results": results }),
            None => results.into(),
        })
    }
}
