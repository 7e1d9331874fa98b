//! The paths of both of Mem0's surfaces.
//!
//! The open-source server has its paths without, the platform with a slash at the end; taken is
//! either, on both.

use std::borrow::Cow;
use std::sync::LazyLock;

use matchit::Router;
use percent_encoding::percent_decode_str;
use warp::http::Method;

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The platform: who asks.
    Ping,
    /// The open-source server: memories of a scope.
    Memories,
    /// The open-source server: one memory.
    Memory,
    /// The open-source server: its history.
    History,
    /// The open-source server: search.
    Search,
    /// The open-source server: everything is deleted.
    Reset,
    /// The open-source server: entities.
    Entities,
    /// The open-source server: one entity.
    Entity,
    /// The platform, version 1: memories of a scope.
    MemoriesV1,
    /// The platform, version 2: memories of a scope.
    MemoriesV2,
    /// The platform, version 3: memories of a scope.
    MemoriesV3,
    /// The platform, version 3: memories to be added.
    AddV3,
    /// The platform: search, version 1.
    SearchV1,
    /// The platform: search, version 2.
    SearchV2,
    /// The platform: search, version 3.
    SearchV3,
    /// The platform: one memory.
    MemoryV1,
    /// The platform: its history.
    HistoryV1,
    /// The platform: several memories by their ids.
    Batch,
    /// The platform: what somebody thinks of a memory.
    Feedback,
    /// The platform: entities.
    EntitiesV1,
    /// The platform: one entity, and what is beneath it.
    EntityV1,
    /// The platform: one entity, and what is beneath it.
    EntityV2,
    /// The platform: events.
    Events,
    /// The platform: one event.
    Event,
    /// The platform: a project.
    Project,
    /// The platform: a form filled in from memories.
    Exports,
    /// The platform: one that was filled in.
    Exported,
    /// The platform: a summary of memories.
    Summary,
    /// What is known, and not supported; with a sentence that says so.
    Unsupported(&'static str),
}

impl Place {
    /// Whether a request by this method carries something to be read.
    pub(super) fn takes_body(self, method: &Method) -> bool {
        match self {
            Self::Memories
            | Self::MemoriesV1
            | Self::AddV3
            | Self::MemoriesV2
            | Self::MemoriesV3
            | Self::Search
            | Self::SearchV1
            | Self::SearchV2
            | Self::SearchV3
            | Self::Feedback
            | Self::Reset
            | Self::Exports
            | Self::Exported
            | Self::Summary => *method == Method::POST,
            Self::Memory | Self::MemoryV1 | Self::Batch => *method == Method::PUT,
            _ => false,
        }
    }
}

const NO_WEBHOOKS: &str = "Webhooks are not supported; ask /v1/events/ for what became of an add.";
const NO_ACCOUNTS: &str =
    "There are no accounts here; keys are set in server.api_keys of the configuration.";
const NO_CONFIGURE: &str =
    "The settings are not changed through the API; edit dingbot.toml and run `dingbot reload`.";
const NO_RUNS: &str = "Runs are not listed by themselves; GET /v1/entities/ has those of type run.";
pub(super) const NO_OTHER_PROFILES: &str =
    "Only people have profiles: GET /v2/entities/user/{id}/profile/.";
const NO_PROFILE_JOBS: &str = "Profiles are written by themselves when enough has changed, in one \
                               way for everybody; there is nothing to trigger or to set.";
const NO_INSTRUCTIONS: &str = "Instructions are not generated here.";
const NO_MEMBERS: &str = "A project has no members here; whoever has a key may use it.";

/// Every path, as the label `route` of the metrics has it.
pub(in crate::http) const PATHS: [&str; 45] = [
    "/v1/ping",
    "/memories",
    "/memories/{id}",
    "/memories/{id}/history",
    "/search",
    "/reset",
    "/entities",
    "/entities/{type}/{*name}",
    "/v1/memories",
    "/v2/memories",
    "/v3/memories",
    "/v3/memories/add",
    "/v1/memories/search",
    "/v2/memories/search",
    "/v3/memories/search",
    "/v1/memories/{id}",
    "/v1/memories/{id}/history",
    "/v1/batch",
    "/v1/feedback",
    "/v1/entities",
    "/v1/entities/{type}/{*name}",
    "/v2/entities/{type}/{*name}",
    "/v1/events",
    "/v1/event/{id}",
    "/api/v1/orgs/organizations/{org}/projects/{project}",
    "/api/v1/orgs/organizations/{org}/projects/{project}/members",
    "/api/v1/orgs/organizations/{org}/projects",
    "/api/v1/webhooks/{*rest}",
    "/v1/exports",
    "/v1/exports/get",
    "/v1/summary",
    "/v2/profiles/jobs",
    "/v2/profiles/jobs/{id}",
    "/v2/profiles/settings",
    "/configure",
    "/configure/providers",
    "/generate-instructions",
    "/auth/{*rest}",
    "/api-keys",
    "/api-keys/{id}",
    "/requests",
    "/v2/memories/{id}",
    "/v3/memories/{id}",
    "/v1/runs",
    "/v2/entities",
];

fn place(path: &str) -> Place {
    match path {
        "/v1/ping" => Place::Ping,
        "/memories" => Place::Memories,
        "/memories/{id}" => Place::Memory,
        "/memories/{id}/history" => Place::History,
        "/search" => Place::Search,
        "/reset" => Place::Reset,
        "/entities" => Place::Entities,
        "/entities/{type}/{*name}" => Place::Entity,
        "/v1/memories" => Place::MemoriesV1,
        "/v2/memories" => Place::MemoriesV2,
        "/v3/memories" => Place::MemoriesV3,
        "/v3/memories/add" => Place::AddV3,
        "/v1/memories/search" => Place::SearchV1,
        "/v2/memories/search" => Place::SearchV2,
        "/v3/memories/search" => Place::SearchV3,
        "/v1/memories/{id}" | "/v2/memories/{id}" | "/v3/memories/{id}" => Place::MemoryV1,
        "/v1/memories/{id}/history" => Place::HistoryV1,
        "/v1/batch" => Place::Batch,
        "/v1/feedback" => Place::Feedback,
        "/v1/entities" | "/v2/entities" => Place::EntitiesV1,
        "/v1/entities/{type}/{*name}" => Place::EntityV1,
        "/v2/entities/{type}/{*name}" => Place::EntityV2,
        "/v1/events" => Place::Events,
        "/v1/event/{id}" => Place::Event,
        "/api/v1/orgs/organizations/{org}/projects/{project}" => Place::Project,
        "/api/v1/orgs/organizations/{org}/projects/{project}/members"
        | "/api/v1/orgs/organizations/{org}/projects" => Place::Unsupported(NO_MEMBERS),
        "/api/v1/webhooks/{*rest}" => Place::Unsupported(NO_WEBHOOKS),
        "/v1/exports" => Place::Exports,
        "/v1/exports/get" => Place::Exported,
        "/v1/summary" => Place::Summary,
        "/v1/runs" => Place::Unsupported(NO_RUNS),
        "/v2/profiles/jobs" | "/v2/profiles/jobs/{id}" | "/v2/profiles/settings" => {
            Place::Unsupported(NO_PROFILE_JOBS)
        }
        "/configure" | "/configure/providers" => Place::Unsupported(NO_CONFIGURE),
        "/generate-instructions" => Place::Unsupported(NO_INSTRUCTIONS),
        _ => Place::Unsupported(NO_ACCOUNTS),
    }
}

static ROUTER: LazyLock<Router<usize>> = LazyLock::new(|| {
    let mut router = Router::new();
    for (index, path) in PATHS.iter().enumerate() {
        router.insert(*path, index).expect("the paths are constants that do not clash");
    }
    router
});

/// A path that is one of ours, with what its variable parts hold, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) place: Place,
    parts: Vec<(&'static str, String)>,
}

impl Found {
    /// What a variable part holds.
    pub(super) fn part(&self, name: &str) -> &str {
        let found = self.parts.iter().find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value)
    }
}

/// The index of a path in [`PATHS`].
pub(in crate::http) fn index(path: &str) -> Option<usize> {
    ROUTER.at(trimmed(path)).ok().map(|found| *found.value)
}

/// What a path is for, if it is one of ours.
pub(super) fn find(path: &str) -> Option<Found> {
    let found = ROUTER.at(trimmed(path)).ok()?;
    let names = ["id", "type", "name", "org", "project", "rest"];
    let parts = names.into_iter().filter_map(|name| {
        let decoded: Cow<'_, str> = percent_decode_str(found.params.get(name)?).decode_utf8_lossy();
        Some((name, decoded.into_owned()))
    });
    Some(Found { place: place(PATHS[*found.value]), parts: parts.collect() })
}

/// Without the slash at the end.
fn trimmed(path: &str) -> &str {
    path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_makes_no_difference() {
        for path in ["/v3/memories/add", "/memories", "/v1/entities"] {
            assert_eq!(find(path), find(&format!("{path}/")), "{path}");
            assert!(find(path).is_some());
        }
        assert_eq!(find("/v9/memories"), None);
        assert_eq!(find("/"), None);
    }

    #[test]
    fn a_name_may_hold_anything_escaped_or_not() {
        for path in ["/v2/entities/user/alice%2F1/", "/v2/entities/user/alice/1/"] {
            let found = find(path).unwrap();
            assert_eq!((found.place, found.part("type")), (Place::EntityV2, "user"));
            assert_eq!(found.part("name"), "alice/1", "{path}");
        }
        assert_eq!(find("/entities/user/%E5%AE%89").unwrap().part("name"), "安");
    }

    #[test]
    fn a_fixed_part_comes_before_a_variable_one() {
        assert_eq!(find("/v1/memories/search/").unwrap().place, Place::SearchV1);
        assert_eq!(find("/v1/memories/0199/").unwrap().place, Place::MemoryV1);
        assert_eq!(find("/v1/memories/0199/history/").unwrap().place, Place::HistoryV1);
    }
}
