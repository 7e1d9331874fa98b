//! The bot in a container of the instance's Docker.

use std::sync::Arc;
use std::time::Duration;

use super::lab::Lab;
use crate::docker::container::Container;
use crate::docker::engine::IMAGE;
use crate::support::{dingtalk, model};

/// Its name, as in the commands of the documents.
pub(super) const NAME: &str = "dingbot";
/// How often is looked whether something came true, and how often at most.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS: usize = 150;

/// A container that is healthy, with these options.
pub(super) async fn run(lab: &Lab, options: &[&str]) -> Container {
    let bot = start(lab, options).await;
    is_healthy(&bot).await;
    bot
}

/// A container that was started, however it goes on.
pub(super) async fn start(lab: &Lab, options: &[&str]) -> Container {
    lab.without_configuration();
    let all = all(lab, options);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    Container::run(lab.docker(), NAME, &all).await
}

/// As [`start`], when it may fail.
pub(super) async fn try_start(lab: &Lab, options: &[&str]) -> Container {
    lab.without_configuration();
    let all = all(lab, options);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let run = [&["run", "-d", "--name", NAME][..], &all, &[IMAGE]].concat();
    lab.docker().try_docker(&run).await;
    Container::known(lab.docker(), NAME)
}

/// What the simulators need, and a health that is asked for sooner.
fn all(lab: &Lab, options: &[&str]) -> Vec<String> {
    let variables = [
        ("OPENAI_API_KEY", model::KEY.to_owned()),
        ("OPENAI_BASE_URL", lab.model.base()),
        ("OPENAI_MODEL", "simulated-1".into()),
        ("DINGBOT_DINGTALK__CLIENT_ID", dingtalk::CLIENT_ID.into()),
        ("DINGBOT_DINGTALK__CLIENT_SECRET", dingtalk::CLIENT_SECRET.into()),
        ("DINGBOT_DINGTALK__API_BASE", lab.dingtalk.base()),
        ("DINGBOT_DINGTALK__OAPI_BASE", lab.dingtalk.base()),
    ];
    let variables =
        variables.iter().flat_map(|(name, value)| ["-e".into(), format!("{name}={value}")]);
    let hurry = ["--health-interval", "1s"].map(str::to_owned);
    hurry.into_iter().chain(variables).chain(options.iter().map(|it| (*it).to_owned())).collect()
}

/// Waits until Docker has seen it healthy.
pub(super) async fn is_healthy(bot: &Container) {
    bot.becomes("(healthy)").await;
}

/// Waits until Docker says that its state is this.
pub(super) async fn becomes(bot: &Container, state: &str) {
    for _ in 0..LOOKS {
        if bot.inspect("{{.State.Status}}").await == state {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
    panic!("it does not become {state}: {:?}", bot.output().await);
}

/// Waits until the container of a command of doctor's says that it is ready; it is removed at the
/// end of the scenario.
pub(super) async fn is_ready(lab: &Lab) {
    let bot = Container::known(lab.docker(), NAME);
    bot.is_ready().await;
    lab.keeps(bot);
}

/// Compose's services, taken down when this is dropped.
pub(super) struct Composition<'a>(&'a Lab);

impl<'a> Composition<'a> {
    /// Brings them up.
    pub(super) async fn up(lab: &'a Lab) -> Self {
        lab.without_configuration();
        for (name, value) in [
            ("DINGBOT_IMAGE", IMAGE.to_owned()),
            ("OPENAI_API_KEY", model::KEY.to_owned()),
            ("OPENAI_BASE_URL", lab.model.base()),
            ("OPENAI_MODEL", "simulated-1".into()),
        ] {
            lab.variable(name, &value);
        }
        let this = Self(lab);
        lab.sh(&compose("up -d --no-build")).await;
        let id = lab.sh(&compose("ps -q dingbot")).await;
        let bot = Container::known(lab.docker(), id.trim());
        bot.is_ready().await;
        lab.keeps(bot);
        // What is for the container alone is not the operator's.
        lab.without_variables(&["OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"]);
        this
    }
}

impl Drop for Composition<'_> {
    fn drop(&mut self) {
        let docker = Arc::clone(self.0.docker());
        let listed = docker.listed();
        listed.iter().for_each(|id| docker.remove(id));
    }
}

fn compose(arguments: &str) -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/docker/compose.yaml");
    format!("docker-compose -f {file} -p dingbot {arguments}")
}
