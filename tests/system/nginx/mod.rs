//! Behind nginx, with the site that is shipped: from another machine, by HTTPS.

mod site;

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use serde_json::{Value, json};

use self::site::{DOMAIN, Site};
use crate::support::PATIENCE;
use crate::support::dingtalk::SignedCallback;
use crate::support::http::Answer;
use crate::support::namespace::{ATTACKER, Network, outside};
use crate::support::settings::Settings;
use crate::support::stage::Stage;

/// What nginx is to the daemon.
const NGINX: &str = "127.0.0.1";

/// The daemon, nginx before it, and a machine outside.
struct Scene {
    stage: Stage,
    site: Site,
    network: Arc<Network>,
}

impl Scene {
    async fn new(network: Arc<Network>, change: impl FnOnce(Settings) -> Settings) -> Self {
        let stage = Stage::with(|settings| change(settings.text("log.level", "debug"))).await;
        let site = Site::start(stage.daemon.address()).await;
        Self { stage, site, network }
    }

    async fn trusted(network: Arc<Network>) -> Self {
        Self::new(network, |settings| settings.set("server.trusted_proxies", r#"["127.0.0.1/32"]"#))
            .await
    }

    /// Sends a request from outside.
    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        outside(&self.network, async move { Answer::of(request.send().await.unwrap()).await }).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.site.client().get(format!("https://{DOMAIN}{path}"))).await
    }

    fn callback(&self, callback: &SignedCallback) -> reqwest::RequestBuilder {
        let request = self.site.client().post(format!("https://{DOMAIN}/webhook"));
        let request = request.body(callback.body.clone());
        callback.headers.iter().fold(request, |request, (name, value)| request.header(*name, value))
    }

    /// The daemon's log line about the request with this id.
    async fn logged(&self, id: &str) -> Value {
        let line = |line: &String| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["request_id"] == id && event["message"] == "request answered").then_some(event)
        };
        self.stage.daemon.log().find(0, PATIENCE, line).await.expect("each request is logged")
    }
}

/// Runs a test on a host of its own; or says why there is none.
fn on_a_host<F: Future<Output = ()> + Send>(test: impl FnOnce(Arc<Network>) -> F + Send) {
    let network = match Site::missing() {
        Some(why) => Err(why),
        None => Network::new("127.0.0.1 localhost\n", &[]),
    };
    match network.map(Arc::new) {
        Ok(network) => {
            let began = Instant::now();
            network.host.run(test(Arc::clone(&network)));
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            println!("{name}: {:.1} s", began.elapsed().as_secs_f64());
        }
        Err(why) => println!("skipped: nginx: {why}"),
    }
}

#[test]
fn a_signed_callback_by_https_is_verified_and_answered() {
    on_a_host(|network| async move {
        let scene = Scene::trusted(network).await;
        let dingtalk = &scene.stage.dingtalk;
        let callback = dingtalk.callback().text("by the session").build();
        assert_eq!(scene.send(scene.callback(&callback)).await.json()["msgtype"], "empty");
        dingtalk.wait_for_text("echo: by the session").await;

        let callback = dingtalk.callback().without_session().text("on the line").build();
        let answer = scene.send(scene.callback(&callback)).await;
        assert_eq!((answer.status, answer.body.trim()), (200, "echo: on the line"));

        let forged = dingtalk.callback().bad_sign().build();
        scene.send(scene.callback(&forged)).await.error(401);
        // The console's probe.
        assert_eq!(
            scene.send(scene.callback(&dingtalk.callback().probe().build())).await.status,
            200
        );
    });
}

#[test]
fn the_address_in_the_log_is_the_callers_when_nginx_is_trusted() {
    on_a_host(|network| async move {
        // The second as where callers come from a network that is trusted, too.
        for trusted in [r#"["127.0.0.1/32"]"#, r#"["127.0.0.1/32", "203.0.113.0/24"]"#] {
            let change = |settings: Settings| settings.set("server.trusted_proxies", trusted);
            let scene = Scene::new(Arc::clone(&network), change).await;
            let callback = scene.stage.dingtalk.callback().build();
            for claim in [None, Some("198.51.100.7"), Some("127.0.0.1, 127.0.0.1")] {
                let mut request = scene.callback(&callback);
                if let Some(claim) = claim {
                    request = request.header("x-forwarded-for", claim).header("forwarded", claim);
                }
                let answer = scene.send(request).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                let id = answer.header("x-request-id");
                assert_eq!(scene.logged(id).await["client"], ATTACKER, "{claim:?}");
                // One id leads through both logs.
                let line = scene.site.logged(id).await;
                assert!(line.starts_with(ATTACKER), "{line}");
            }
        }
    });
}

#[test]
fn the_address_in_the_log_is_that_of_nginx_when_it_is_not_trusted() {
    on_a_host(|network| async move {
        let scene = Scene::new(network, |settings| settings).await;
        let callback = scene.stage.dingtalk.callback().build();
        let request = scene.callback(&callback).header("x-forwarded-for", "198.51.100.7");
        let answer = scene.send(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(scene.logged(answer.header("x-request-id")).await["client"], NGINX);
    });
}

#[test]
fn a_stranger_behind_nginx_is_not_local() {
    on_a_host(|network| async move {
        let unsigned = |settings: Settings| settings.text("dingtalk.client_secret", "");
        for trusted in ["[]", r#"["127.0.0.1/32"]"#] {
            let change = |s: Settings| unsigned(s).set("server.trusted_proxies", trusted);
            let scene = Scene::new(Arc::clone(&network), change).await;
            let callback = scene.stage.dingtalk.callback().unsigned().build();
            let request = scene.callback(&callback).header("x-forwarded-for", "127.0.0.1");
            scene.send(request).await.error(403);
        }
    });
}

#[test]
fn what_is_not_for_the_outside_stays_inside() {
    on_a_host(|network| async move {
        let change = |settings: Settings| {
            settings
                .set("server.trusted_proxies", r#"["127.0.0.1/32"]"#)
                .set("server.api_keys", r#"["the-key"]"#)
                .group_robot("ops", "token", "")
        };
        let scene = Scene::new(network, change).await;
        for path in ["/metrics", "/metrics/", "//metrics", "/%6detrics", "/x/../metrics?a=b"] {
            let message = scene.get(path).await.error(403);
            assert!(message.contains("not served to the outside"), "{path}: {message}");
        }
        for path in
            ["/dingtalk/ops/send", "//dingtalk/ops/send/", "/%64ingtalk/ops/send", "/dingtalk/x"]
        {
            let request = scene.site.client().post(format!("https://{DOMAIN}{path}"));
            let request = request.json(&json!({ "alerts": [{}] })).bearer_auth("the-key");
            let message = scene.send(request).await.error(403);
            assert!(message.contains("not served to the outside"), "{path}: {message}");
        }
        let healthy = json!({ "status": "ok", "message": "DingBot Server is healthy" });
        for path in ["/health", "/health/", "/health?verbose=1", "/health/?%76erbose=1"] {
            assert_eq!(scene.get(path).await.json(), healthy, "{path}");
        }
        assert_eq!(scene.get("/help").await.status, 200);
        scene.get("/nothing/here").await.error(404);
        // The daemon's own Prometheus asks it directly.
        assert_eq!(scene.stage.daemon.get("/metrics").await.status, 200);
    });
}

#[test]
fn a_body_over_the_limit_does_not_reach_the_daemon() {
    on_a_host(|network| async move {
        let scene = Scene::trusted(network).await;
        let post = |bytes: usize| {
            let request = scene.site.client().post(format!("https://{DOMAIN}/webhook"));
            request.header("content-type", "application/json").body(vec![b' '; bytes])
        };
        let message = scene.send(post(1_048_577)).await.error(413);
        assert!(message.contains("1048576"), "{message}");
        let seen = scene.stage.daemon.metrics().await;
        assert_eq!(seen.sum("dingbot_http_requests_total", &[("route", "/webhook")]), 0.0);
        // As large as the daemon takes it.
        scene.send(post(1_048_576)).await.error(401);
    });
}

#[test]
fn http_leads_to_https_but_for_challenges() {
    on_a_host(|network| async move {
        let scene = Scene::trusted(network).await;
        let client = scene.site.client();
        let answer = scene.send(client.post(format!("http://{DOMAIN}/webhook?a=b"))).await;
        // A 301 would make a GET of it.
        assert_eq!(answer.status, 308);
        assert_eq!(answer.header("location"), format!("https://{DOMAIN}/webhook?a=b"));
        let challenge = format!("http://{DOMAIN}/.well-known/acme-challenge/token");
        let answer = scene.send(client.get(challenge)).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "the answer to a challenge"));
    });
}

#[test]
fn a_flood_is_limited_and_callbacks_are_not() {
    on_a_host(|network| async move {
        let scene = Scene::trusted(network).await;
        let client = scene.site.client();
        let flood = (0..300).map(|_| client.get(format!("https://{DOMAIN}/help")));
        let flood: Vec<_> = flood.collect();
        let answers = outside(&scene.network, async move {
            join_all(
                flood
                    .into_iter()
                    .map(async |request| Answer::of(request.send().await.unwrap()).await),
            )
            .await
        })
        .await;
        let refused: Vec<&Answer> = answers.iter().filter(|a| a.status == 429).collect();
        let served = answers.iter().filter(|answer| answer.status == 200).count();
        assert!(!refused.is_empty() && served >= 100, "{served} of {}", answers.len());
        assert_eq!(served + refused.len(), answers.len());
        refused[0].error(429);
        assert!(!refused[0].header("retry-after").is_empty(), "{:?}", refused[0]);

        // While that address is still refused.
        let callbacks: Vec<_> = (0..300)
            .map(|number| scene.stage.dingtalk.callback().text(&format!("/ping {number}")).build())
            .map(|callback| scene.callback(&callback))
            .collect();
        let answers = outside(&scene.network, async move {
            join_all(
                callbacks
                    .into_iter()
                    .map(async |request| Answer::of(request.send().await.unwrap()).await.status),
            )
            .await
        })
        .await;
        assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    });
}

#[test]
fn a_daemon_that_is_gone_is_said_to_be() {
    on_a_host(|network| async move {
        let mut scene = Scene::trusted(network).await;
        scene.stage.daemon.sigterm();
        scene.stage.daemon.wait_exit().await;
        let answer = scene.get("/health").await;
        answer.error(503);
        assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    });
}
