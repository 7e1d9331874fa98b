//! The security groups of the instance: from where the bot's port is open.

mod entrance;
mod remedy;
mod unseen;
mod verdict;
pub(super) mod words;

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use self::verdict::Scene;
use super::ecs::rules::Rule;
use super::ecs::{self, Api, ApiError, CredentialsError, Ecs, Instance, Metadata, Origin};
use super::facts::Facts;
use super::finding::Finding;

/// The longest it may take to find credentials and to ask the API.
const LIMIT: Duration = Duration::from_millis(2_800);

/// The groups of the instance, and all their rules.
#[derive(Debug)]
struct Groups {
    ids: Vec<String>,
    rules: Vec<Rule>,
}

/// Why the groups are not known.
#[derive(Debug)]
enum Unknown {
    /// Nothing to ask with.
    Credentials(CredentialsError),
    /// Asked with credentials from here, and refused.
    Api(ApiError, Origin),
}

pub(super) async fn look(facts: &Facts) -> Vec<Finding> {
    let (instance, metadata) = match facts.ecs().await {
        Ecs::Instance { instance, metadata } => (instance, metadata),
        Ecs::Silent => return vec![unseen::silent(&entrance::find(facts).await, facts.visitor())],
        Ecs::Elsewhere => return Vec::new(),
    };
    let (entrances, groups) =
        tokio::join!(entrance::find(facts), groups(facts, instance, metadata));
    match groups {
        Ok(Groups { ids, rules }) => {
            let scene = Scene::new(facts, instance, &entrances, ids, &rules);
            scene.findings()
        }
        Err(unknown) => vec![unseen::finding(&unknown, instance, &entrances, facts.visitor())],
    }
}

async fn groups(
    facts: &Facts,
    instance: &Instance,
    metadata: &Metadata,
) -> Result<Groups, Unknown> {
    let began = Instant::now();
    let credentials = ecs::credentials(facts, metadata).await.map_err(Unknown::Credentials)?;
    let origin = credentials.origin.clone();
    let asked = async {
        let api = Api::new(&instance.region, credentials)?;
        let ids = api.groups_of(&instance.id).await?;
        let groups = try_join_all(ids.iter().map(|id| api.group(id))).await?;
        let rules = groups.into_iter().flat_map(|group| group.rules).collect();
        Ok(Groups { ids, rules })
    };
    let late = || ApiError::Unreachable(format!("no answer within {:.1} s", LIMIT.as_secs_f64()));
    let asked = tokio::time::timeout(LIMIT.saturating_sub(began.elapsed()), asked)
        .await
        .unwrap_or_else(|_| Err(late()));
    asked.map_err(|error| Unknown::Api(error, origin))
}
