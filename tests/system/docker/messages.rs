//! Messages through a container: the model and DingTalk are on its host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::container::Container;
use super::engine::Engine;
use super::names::Names;
use super::on_the_host;
use crate::support::dingtalk::{CLIENT_ID, CLIENT_SECRET, DingTalk, SignedCallback};
use crate::support::http::{self, Answer};
use crate::support::model::{KEY, Model, Reply};
use crate::support::namespace::HOST;

/// What `docker stop` grants unless it is told otherwise.
const GRACE: Duration = Duration::from_secs(10);
const PUBLISHED: u16 = 9090;

/// The simulators at an address that containers reach, and a name server that leads there.
struct Outside {
    model: Model,
    dingtalk: DingTalk,
    _names: Names,
}

impl Outside {
    async fn new() -> Self {
        let host: Ipv4Addr = HOST.parse().unwrap();
        let (model, dingtalk) =
            tokio::join!(Model::start_at(host.into()), DingTalk::start_at(host.into()));
        Self { model, dingtalk, _names: Names::serve(host).await }
    }

    /// A container that knows both, by the short names of the environment where there are some.
    async fn container(&self, docker: &Arc<Engine>, name: &str, options: &[&str]) -> Container {
        // By a name that only the name server knows.
        let model = self.model.base().replace(HOST, "model.example");
        let variables = [
            format!("OPENAI_API_KEY={KEY}"),
            format!("OPENAI_API_BASE={model}"),
            "OPENAI_MODEL=simulated-1".to_owned(),
            format!("DINGBOT_DINGTALK__CLIENT_ID={CLIENT_ID}"),
            format!("DINGBOT_DINGTALK__CLIENT_SECRET={CLIENT_SECRET}"),
            format!("DINGBOT_DINGTALK__API_BASE={}", self.dingtalk.base()),
            format!("DINGBOT_DINGTALK__OAPI_BASE={}", self.dingtalk.base()),
        ];
        let mut all = vec!["-p", "9090:8080"];
        for variable in &variables {
            all.extend(["-e", variable]);
        }
        all.extend(options);
        let container = Container::run(docker, name, &all).await;
        container.is_ready().await;
        container
    }
}

async fn post(callback: &SignedCallback) -> Answer {
    let host: IpAddr = HOST.parse().unwrap();
    let request = callback.request(&http::client(), SocketAddr::new(host, PUBLISHED));
    Answer::of(request.send().await.unwrap()).await
}

#[test]
fn a_signed_callback_is_answered_by_the_model_of_the_environment() {
    on_the_host(|docker| async move {
        let outside = Outside::new().await;
        let _bot = outside.container(&docker, "dingbot-messages", &[]).await;
        let callback = outside.dingtalk.callback().text("how are you").build();
        assert_eq!(post(&callback).await.json()["msgtype"], "empty");
        outside.dingtalk.wait_for_text("echo: how are you").await;
        assert_eq!(outside.model.asked()[0].authorization, format!("Bearer {KEY}"));

        let forged = outside.dingtalk.callback().bad_sign().build();
        post(&forged).await.error(401);
    });
}

#[test]
fn docker_stop_waits_for_what_is_under_way() {
    on_the_host(|docker| async move {
        let outside = Outside::new().await;
        outside.model.answer_always(Reply::text("just in time"));
        outside.model.hold();
        let bot = outside.container(&docker, "dingbot-drain", &[]).await;
        let callback = outside.dingtalk.callback().without_session().text("wait for me").build();
        let stopping = async {
            outside.model.wait_for_question("wait for me").await;
            let heard = async {
                bot.logs("stopping: draining").await;
                outside.model.release();
            };
            tokio::join!(bot.stop(), heard).0
        };
        let (answer, (code, took)) = tokio::join!(post(&callback), stopping);
        assert_eq!((answer.status, answer.body.trim()), (200, "just in time"));
        assert_eq!(code, "0");
        assert!(took < GRACE, "{took:?}");
        println!("docker stop with an answer under way: {:.1} s", took.as_secs_f64());
    });
}

#[test]
fn what_docker_stop_does_not_wait_for_is_answered_after_the_next_start() {
    on_the_host(|docker| async move {
        let outside = Outside::new().await;
        outside.model.hold();
        let bot = outside.container(&docker, "dingbot-undone", &[]).await;
        let callback = outside.dingtalk.callback().text("wait for me").build();
        assert_eq!(post(&callback).await.json()["msgtype"], "empty");
        outside.model.wait_for_question("wait for me").await;
        let (code, took) = bot.stop().await;
        // Not 137: it was not killed.
        assert_eq!(code, "0", "{took:?}");
        assert!(took < GRACE, "{took:?}");
        println!("docker stop with a model that does not answer: {:.1} s", took.as_secs_f64());

        let started = Instant::now();
        docker.docker(&["start", bot.name()]).await;
        outside.model.release();
        outside.dingtalk.wait_for_text("echo: wait for me").await;
        println!("answered {:.1} s after docker start", started.elapsed().as_secs_f64());
        assert_eq!(outside.dingtalk.messages().len(), 1);
    });
}
