//! The daemon between its two simulators.

use super::daemon::Daemon;
use super::dingtalk::DingTalk;
use super::model::Model;
use super::settings::Settings;

/// A DingTalk, a model, and a daemon that knows both.
#[derive(Debug)]
pub struct Stage {
    pub daemon: Daemon,
    pub dingtalk: DingTalk,
    pub model: Model,
}

impl Stage {
    /// With the OpenAPI configured and no group robot.
    pub async fn new() -> Self {
        Self::with(|settings| settings).await
    }

    /// As [`Stage::new`], with some settings changed.
    pub async fn with(change: impl FnOnce(Settings) -> Settings) -> Self {
        Self::start(|dingtalk, model| change(Settings::new(dingtalk, model))).await
    }

    /// With the group robot `default` and no OpenAPI.
    pub async fn with_group_robot() -> Self {
        Self::start(Settings::with_group_robot).await
    }

    /// With settings made from the simulators.
    pub async fn start(settings: impl FnOnce(&DingTalk, &Model) -> Settings) -> Self {
        let (dingtalk, model) = tokio::join!(DingTalk::start(), Model::start());
        let daemon = Daemon::start(settings(&dingtalk, &model)).await;
        Self { daemon, dingtalk, model }
    }
}
