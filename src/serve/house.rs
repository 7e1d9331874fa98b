//! Every room, wired; and what of it a reload replaces.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use ipnet::IpNet;
use tokio::sync::{Notify, mpsc};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::bot::{
    Alerts, Courier, Housekeeping, Inbox, Mailbox, Reminders, Responder, Settler, Worker, commands,
};
use crate::config::Settings;
use crate::dingtalk::DingTalk;
use crate::http::accept::Limits;
use crate::http::alerts::{AlertReceiver, alerts};
use crate::http::auth::ApiKeys;
use crate::http::keyring::Keyring;
use crate::http::mcp::mcp;
use crate::http::mem0::{MemoryApi, memory_api};
use crate::http::webhook::{Webhook, webhook};
use crate::http::{self, Landing, StatusState, mem0};
use crate::live::Live;
use crate::llm::ChatModel;
use crate::memory::learning::{Learner, Lessons};
use crate::memory::meaning::Meaning;
use crate::memory::{Memory, Parts};
use crate::store::Store;
use crate::telemetry::clock::Clock;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::process::ProcessCollector;
use crate::telemetry::traffic::Traffic;

/// What every room may use, whatever the settings are.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
    /// `None`: memories are recalled by their words alone.
    pub(super) meaning: Option<Arc<Meaning>>,
    /// The bell of the learner, whatever memory there is.
    pub(super) lessons: Arc<Lessons>,
}

/// Every room, and nothing running yet.
pub(super) struct House {
    pub(super) inbox: Inbox,
    pub(super) routes: BoxedFilter<(Response,)>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) arrivals: mpsc::UnboundedReceiver<String>,
    pub(super) mail: mpsc::UnboundedReceiver<String>,
    pub(super) worker: Worker,
    pub(super) courier: Courier,
    pub(super) reminders: Reminders,
    pub(super) settler: Settler,
    pub(super) learner: Learner,
    pub(super) keyring: Arc<Keyring>,
    pub(super) housekeeping: Housekeeping,
    pub(super) furniture: Furniture,
}

/// The parts that are made of settings: a reload makes them anew. Everybody who works with one
/// has it by its [`Live`] place.
pub(super) struct Furniture {
    ground: Ground,
    inbox: Inbox,
    /// Rung for a new reminder.
    alarm: Arc<Notify>,
    dingtalk: Live<DingTalk>,
    model: Live<Option<Arc<ChatModel>>>,
    memory: Live<Memory>,
    responder: Live<Responder>,
    webhook: Live<Webhook>,
    mailbox: Mailbox,
    alert_receiver: Live<AlertReceiver>,
    memory_api: Live<MemoryApi>,
    api_keys: Live<ApiKeys>,
    metrics_allow: Live<Vec<IpNet>>,
    pub(super) trusted_proxies: Live<Vec<IpNet>>,
    pub(super) limits: Live<Limits>,
}

impl House {
    pub(super) async fn build(
        settings: &Settings,
        ground: &Ground,
        process: ProcessCollector,
        listen: &[SocketAddr],
    ) -> anyhow::Result<Self> {
        let Ground { store, clock, metrics, health, meaning: _, lessons: _ } = ground.clone();
        let (inbox, arrivals) = Inbox::open(
            Arc::clone(&store),
            clock.clone(),
            Arc::clone(&metrics),
            settings.bot.inbox_limit,
        )
        .await
        .context("the inbox cannot be read")?;
        let keyring = Keyring::open(Arc::clone(&store), clock.clone())
            .await
            .context("the keys of the memory API cannot be read")?;
        let keyring = Arc::new(keyring);
        let (mailbox, mail) = Mailbox::new();
        let furniture = Furniture::build(settings, ground, &inbox, &mailbox)?;
        let answered = Arc::new(Notify::new());
        let traffic = Arc::new(Traffic::new(clock.clone(), Arc::clone(&metrics)));
        let status = StatusState::new(
            Arc::clone(&health),
            Arc::clone(&metrics),
            process,
            furniture.metrics_allow.clone(),
            Landing { listen: listen.to_vec(), traffic: Arc::clone(&traffic) },
            (commands::HELP_CHINESE, commands::HELP_ENGLISH),
        );
        let received = webhook(furniture.webhook.clone())
            .or(alerts(furniture.alert_receiver.clone(), furniture.api_keys.clone()))
            .unify()
            .or(memory_api(
                furniture.memory_api.clone(),
                furniture.api_keys.clone(),
                Arc::clone(&keyring),
            ))
            .unify()
            .or(mem0::document())
            .unify()
            .or(mcp(furniture.memory_api.clone(), furniture.api_keys.clone(), Arc::clone(&keyring)))
            .unify()
            .boxed();
        Ok(Self {
            traffic,
            routes: http::routes(Arc::new(status), received),
            worker: Worker {
                store: Arc::clone(&store),
                inbox: inbox.clone(),
                responder: furniture.responder.clone(),
                mailbox: mailbox.clone(),
                settle: Arc::clone(&answered),
                clock: clock.clone(),
                metrics: Arc::clone(&metrics),
            },
            courier: Courier {
                store: Arc::clone(&store),
                dingtalk: furniture.dingtalk.clone(),
                clock: clock.clone(),
                metrics: Arc::clone(&metrics),
                health: Arc::clone(&health),
            },
            reminders: Reminders {
                store: Arc::clone(&store),
                mailbox,
                clock: clock.clone(),
                alarm: Arc::clone(&furniture.alarm),
            },
            settler: Settler {
                store: Arc::clone(&store),
                memory: furniture.memory.clone(),
                answered,
            },
            keyring,
            learner: Learner { memory: furniture.memory.clone() },
            housekeeping: Housekeeping {
                store,
                inbox: inbox.clone(),
                clock,
                metrics,
                health,
                model: furniture.model.clone(),
            },
            inbox,
            arrivals,
            mail,
            furniture,
        })
    }
}

impl Furniture {
    fn build(
        settings: &Settings,
        ground: &Ground,
        inbox: &Inbox,
        mailbox: &Mailbox,
    ) -> anyhow::Result<Self> {
        let dingtalk = Arc::new(new_dingtalk(settings, ground)?);
        let model = model(settings, &ground.metrics)?;
        let memory = Arc::new(new_memory(settings, ground, &model));
        let alarm = Arc::new(Notify::new());
        let (responder, webhook) =
            surfaces(settings, ground, inbox, &alarm, (&dingtalk, &model, &memory));
        Ok(Self {
            dingtalk: Live::new(dingtalk),
            model: Live::new(model),
            memory: Live::new(Arc::clone(&memory)),
            responder: Live::new(responder),
            webhook: Live::new(webhook),
            mailbox: mailbox.clone(),
            alert_receiver: Live::new(alert_receiver(settings, ground, mailbox)),
            memory_api: Live::new(new_memory_api(settings, ground, &memory)),
            api_keys: Live::new(ApiKeys::new(&settings.server.api_keys)),
            metrics_allow: Live::new(settings.server.metrics_allow.clone()),
            trusted_proxies: Live::new(settings.server.trusted_proxies.clone()),
            limits: Live::new(limits(settings)),
            ground: ground.clone(),
            inbox: inbox.clone(),
            alarm,
        })
    }

    /// Puts settings in force, all or none. What is under way ends as it began. `changed` names
    /// the keys that differ: what they do not concern stays, for it knows things: tokens, and how
    /// it stands with an endpoint.
    pub(super) fn replace(&self, settings: &Settings, changed: &[String]) -> anyhow::Result<()> {
        let concerns = |section: &str| changed.iter().any(|key| key.starts_with(section));
        let dingtalk = if concerns("dingtalk.") {
            Arc::new(new_dingtalk(settings, &self.ground)?)
        } else {
            self.dingtalk.get()
        };
        let model = if concerns("llm.") {
            model(settings, &self.ground.metrics)?
        } else {
            self.model.get().as_ref().clone()
        };
        // From here on nothing fails.
        let memory = Arc::new(new_memory(settings, &self.ground, &model));
        let made = (&dingtalk, &model, &memory);
        let (responder, webhook) = surfaces(settings, &self.ground, &self.inbox, &self.alarm, made);
        self.dingtalk.replace(dingtalk);
        self.model.replace(model);
        self.memory_api.replace(new_memory_api(settings, &self.ground, &memory));
        self.memory.replace(memory);
        self.responder.replace(responder);
        self.webhook.replace(webhook);
        self.alert_receiver.replace(alert_receiver(settings, &self.ground, &self.mailbox));
        self.api_keys.replace(ApiKeys::new(&settings.server.api_keys));
        self.metrics_allow.replace(settings.server.metrics_allow.clone());
        self.trusted_proxies.replace(settings.server.trusted_proxies.clone());
        self.limits.replace(limits(settings));
        self.inbox.set_limit(settings.bot.inbox_limit);
        Ok(())
    }
}

/// The parts that answer, made of those that know how.
fn surfaces(
    settings: &Settings,
    ground: &Ground,
    inbox: &Inbox,
    alarm: &Arc<Notify>,
    (dingtalk, model, memory): (&Arc<DingTalk>, &Option<Arc<ChatModel>>, &Arc<Memory>),
) -> (Responder, Webhook) {
    let responder = Responder::new(
        settings,
        Arc::clone(&ground.store),
        Arc::clone(memory),
        model.clone(),
        Arc::clone(dingtalk),
        ground.clock.clone(),
        Arc::clone(alarm),
    );
    let webhook = Webhook::new(
        settings,
        inbox.clone(),
        Arc::clone(dingtalk),
        ground.clock.clone(),
        Arc::clone(&ground.metrics),
    );
    (responder, webhook)
}

fn alert_receiver(settings: &Settings, ground: &Ground, mailbox: &Mailbox) -> AlertReceiver {
    let store = Arc::clone(&ground.store);
    let alerts = Alerts::new(settings, store, mailbox.clone(), ground.clock.clone());
    AlertReceiver::new(settings, alerts, ground.clock.clone(), Arc::clone(&ground.metrics))
}

fn new_memory_api(settings: &Settings, ground: &Ground, memory: &Arc<Memory>) -> MemoryApi {
    MemoryApi::new(settings, Arc::clone(memory), ground.clock.clone())
}

fn new_dingtalk(settings: &Settings, ground: &Ground) -> anyhow::Result<DingTalk> {
    Ok(DingTalk::new(&settings.dingtalk, Arc::clone(&ground.metrics), ground.clock.clone())?)
}

fn new_memory(settings: &Settings, ground: &Ground, model: &Option<Arc<ChatModel>>) -> Memory {
    let parts = Parts {
        store: Arc::clone(&ground.store),
        metrics: Arc::clone(&ground.metrics),
        clock: ground.clock.clone(),
        meaning: ground.meaning.clone(),
        model: model.clone(),
        lessons: Arc::clone(&ground.lessons),
    };
    Memory::new(&settings.memory, parts)
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        max_connections: settings.server.max_connections,
        header_timeout: settings.server.header_timeout,
        drain_timeout: settings.server.drain_timeout,
    }
}

/// The model, unless the bot answers offline.
pub(crate) fn model(
    settings: &Settings,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Option<Arc<ChatModel>>> {
    if settings.llm.is_offline() {
        return Ok(None);
    }
    Ok(Some(Arc::new(ChatModel::new(&settings.llm, Arc::clone(metrics))?)))
}
