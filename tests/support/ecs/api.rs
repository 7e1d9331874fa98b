//! The OpenAPI of ECS, version 2014-05-26, by HTTPS.
//!
//! Follows the pages of its calls, "Common error codes", and for calls without permission the
//! "Announcement of changes to the authentication mechanism for Alibaba Cloud ECS query API
//! operations": an error since December 2025, and an empty list before.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

pub use super::permissions::{accept, drop, rule};
use super::{INSTANCE, PUBLIC_ENDPOINT, REGION, VPC_ENDPOINT, permissions, signature};
use crate::support::record::Record;
use crate::support::server::{Answer, Received, Server, json as answer};
use crate::support::tls::Certificate;

/// The port of HTTPS.
const PORT: u16 = 443;

/// An access key.
#[derive(Debug, Clone)]
pub struct Key {
    pub id: String,
    pub secret: String,
    /// Of temporary credentials.
    pub token: Option<String>,
    /// Whether the token's time is over.
    pub expired: bool,
    /// The calls it may not make.
    pub forbidden: Vec<&'static str>,
    /// Whether it is of an account that has no instance here.
    pub stranger: bool,
}

impl Key {
    /// A key that may do everything.
    pub fn new(id: &str, secret: &str) -> Self {
        Self {
            id: id.into(),
            secret: secret.into(),
            token: None,
            expired: false,
            forbidden: Vec::new(),
            stranger: false,
        }
    }

    /// A temporary one.
    pub fn temporary(id: &str, secret: &str, token: &str) -> Self {
        Self { token: Some(token.into()), ..Self::new(id, secret) }
    }
}

/// An error of the API.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    status: u16,
    code: String,
    message: String,
}

impl Failure {
    pub(super) fn new(status: u16, code: &str, message: &str) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }
}

/// What the API knows; tests change it.
#[derive(Debug, Default)]
pub struct World {
    pub keys: Vec<Key>,
    /// The groups of each instance, in order.
    pub instances: BTreeMap<String, Vec<String>>,
    /// The rules of each group.
    pub groups: BTreeMap<String, Vec<Value>>,
    pub prefix_lists: BTreeMap<String, Vec<String>>,
    pub port_lists: BTreeMap<String, Vec<String>>,
    /// How many calls from now on are throttled.
    pub throttled: usize,
    /// Whether what is not permitted is an empty list, as it was for years.
    pub empty_without_permission: bool,
    /// Seconds the API's clock is ahead.
    pub ahead: i64,
    nonces: HashSet<String>,
    /// What each client token was for, and has done.
    client_tokens: HashMap<String, String>,
}

/// A call that was made.
#[derive(Debug, Clone)]
pub struct Call {
    pub host: String,
    pub action: String,
    pub query: String,
    /// The code of the error, if it was one.
    pub error: Option<String>,
}

/// The API; it ends when it is dropped.
#[derive(Debug)]
pub struct Api {
    world: Arc<Mutex<World>>,
    calls: Arc<Record<Call>>,
    certificate: Certificate,
    _server: Server,
}

impl Api {
    /// At `ip`, by HTTPS; [`INSTANCE`] is in `groups`.
    pub async fn start(ip: IpAddr, keys: Vec<Key>, groups: &[(&str, Vec<Value>)]) -> Self {
        let ids = groups.iter().map(|(id, _)| (*id).to_owned()).collect();
        let world = Arc::new(Mutex::new(World {
            keys,
            instances: BTreeMap::from([(INSTANCE.to_owned(), ids)]),
            groups: groups.iter().map(|(id, rules)| ((*id).into(), rules.clone())).collect(),
            ..World::default()
        }));
        let calls = Arc::new(Record::default());
        let certificate = Certificate::new(&[PUBLIC_ENDPOINT, VPC_ENDPOINT]);
        let shared = (Arc::clone(&world), Arc::clone(&calls));
        let handler = move |request: Received| {
            let (world, calls) = &shared;
            std::future::ready(respond(&mut lock(world), calls, &request))
        };
        let tls = Some(certificate.acceptor());
        let server = Server::start_at(SocketAddr::new(ip, PORT), tls, handler).await;
        Self { world, calls, certificate, _server: server }
    }

    /// What it knows.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.all()
    }

    /// The certificate, with the authority to trust.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

fn respond(world: &mut World, calls: &Record<Call>, request: &Received) -> Answer {
    let action = request.header("x-acs-action").to_owned();
    let host = request.header("host").to_owned();
    let id = uuid::Uuid::new_v4().to_string().to_uppercase();
    let done = world.call(request, &action);
    let (query, error) = (request.query.clone(), done.as_ref().err().map(|e| e.code.clone()));
    calls.push(Call { host: host.clone(), action, query, error });
    Some(match done {
        Ok(mut body) => {
            body["RequestId"] = json!(id);
            answer(200, &body)
        }
        Err(Failure { status, code, message }) => {
            let recommend = format!("https://api.aliyun.com/troubleshoot?q={code}&product=Ecs");
            let mut body = json!({
                "RequestId": id, "HostId": host, "Code": code, "Message": message,
                "Recommend": recommend,
            });
            if status == 403 {
                body["AccessDeniedDetail"] = json!({
                    "NoPermissionType": "ImplicitDeny", "PolicyType": "AccountLevelIdentityBasedPolicy",
                });
            }
            answer(status, &body)
        }
    })
}

impl World {
    fn call(&mut self, request: &Received, action: &str) -> Result<Value, Failure> {
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(self.ahead);
        let key = signature::check(request, &self.keys, now)?.clone();
        if !self.nonces.insert(request.header("x-acs-signature-nonce").to_owned()) {
            let message = "Specified signature nonce was used already.";
            return Err(Failure::new(400, "SignatureNonceUsed", message));
        }
        if request.header("x-acs-version") != "2014-05-26" {
            let message = "Specified api is not found, please check your url and method.";
            return Err(Failure::new(404, "InvalidAction.NotFound", message));
        }
        if let Some(left) = self.throttled.checked_sub(1) {
            self.throttled = left;
            let message = "Request was denied due to user flow control.";
            return Err(Failure::new(400, "Throttling.User", message));
        }
        if request.parameter("RegionId").as_deref() != Some(REGION) {
            let message = "The specified parameter RegionId is not valid.";
            return Err(Failure::new(404, "InvalidRegionId.NotFound", message));
        }
        let dry = request.parameter("DryRun").as_deref() == Some("true");
        if key.forbidden.contains(&action) {
            if self.empty_without_permission && action == "DescribeInstances" && !dry {
                return Ok(instances(&[]));
            }
            let message = "User not authorized to operate on the specified resource, or this \
                           API doesn't support RAM.";
            return Err(Failure::new(403, "Forbidden.RAM", message));
        }
        match action {
            "DescribeInstances" if dry => Err(Failure::new(
                400,
                "DryRunOperation",
                "Request validation has been passed with DryRun flag set.",
            )),
            "DescribeInstances" => self.describe_instances(request, &key),
            "DescribeSecurityGroupAttribute" => self.describe_group(request),
            "DescribePrefixListAttributes" => {
                let (id, list) = listed(request, "PrefixListId", &self.prefix_lists)?;
                let entries: Vec<_> =
                    list.iter().map(|cidr| json!({ "Cidr": cidr, "Description": "" })).collect();
                Ok(json!({ "PrefixListId": id, "Entries": { "Entry": entries } }))
            }
            "DescribePortRangeListEntries" => {
                let (_, list) = listed(request, "PortRangeListId", &self.port_lists)?;
                let entries: Vec<_> =
                    list.iter().map(|range| json!({ "PortRange": range })).collect();
                Ok(json!({ "Entries": entries }))
            }
            "AuthorizeSecurityGroup" => self.authorize(request),
            "RevokeSecurityGroup" => self.revoke(request),
            _ => Err(Failure::new(
                404,
                "InvalidAction.NotFound",
                "Specified api is not found, please check your url and method.",
            )),
        }
    }

    fn describe_instances(&self, request: &Received, key: &Key) -> Result<Value, Failure> {
        let asked = request.parameter("InstanceIds").unwrap_or_default();
        let asked: Vec<String> = serde_json::from_str(&asked).map_err(|_| {
            let message = "The specified InstanceIds is malformed.";
            Failure::new(400, "InvalidInstanceIds.Malformed", message)
        })?;
        let known = self.instances.iter().filter(|(id, _)| asked.contains(id) && !key.stranger);
        Ok(instances(&known.collect::<Vec<_>>()))
    }

    fn describe_group(&self, request: &Received) -> Result<Value, Failure> {
        let id = group(request)?;
        let rules = self.groups.get(&id).ok_or_else(no_group)?;
        let direction = request.parameter("Direction").unwrap_or_else(|| "all".into());
        let rules: Vec<Value> = rules
            .iter()
            .filter(|rule| direction == "all" || rule["Direction"] == direction.as_str())
            .cloned()
            .collect();
        let (page, next) = permissions::page(&rules, request)?;
        Ok(json!({
            "SecurityGroupId": id, "SecurityGroupName": id, "RegionId": REGION,
            "VpcId": "vpc-bp1opxu1zkhn00gzv001", "InnerAccessPolicy": "Accept",
            "Description": "", "Permissions": { "Permission": page }, "NextToken": next,
        }))
    }

    fn authorize(&mut self, request: &Received) -> Result<Value, Failure> {
        let id = group(request)?;
        let rule = permissions::asked(request)?;
        if let Some(token) = request.parameter("ClientToken") {
            if token.len() > 64 || !token.is_ascii() {
                let message = "The specified ClientToken is not valid.";
                return Err(Failure::new(400, "InvalidClientToken.Malformed", message));
            }
            // What was asked for, without what is new in each request.
            let mut wish = rule.clone();
            wish["SecurityGroupRuleId"] = json!(id);
            let wish = wish.to_string();
            match self.client_tokens.get(&token) {
                // It was done before; whether it is still so is not looked at.
                Some(known) if *known == wish => return Ok(json!({})),
                Some(_) => {
                    let message = "The request uses the same client token as a previous one, but is different.";
                    return Err(Failure::new(400, "IdempotentParameterMismatch", message));
                }
                None => self.client_tokens.insert(token, wish),
            };
        }
        let rules = self.groups.get_mut(&id).ok_or_else(no_group)?;
        if !rules.iter().any(|known| permissions::same(known, &rule)) {
            rules.push(rule);
        }
        Ok(json!({}))
    }

    fn revoke(&mut self, request: &Received) -> Result<Value, Failure> {
        let rules = self.groups.get_mut(&group(request)?).ok_or_else(no_group)?;
        let id = request.parameter("SecurityGroupRuleId.1").unwrap_or_default();
        let before = rules.len();
        rules.retain(|rule| rule["SecurityGroupRuleId"] != id.as_str());
        if rules.len() == before {
            let message = "The specified security group rule does not exist.";
            return Err(Failure::new(400, "InvalidParam.SecurityGroupRuleId", message));
        }
        Ok(json!({}))
    }
}

fn instances(found: &[(&String, &Vec<String>)]) -> Value {
    let list: Vec<Value> = found
        .iter()
        .map(|(id, groups)| {
            json!({
                "InstanceId": id, "RegionId": REGION, "Status": "Running",
                "SecurityGroupIds": { "SecurityGroupId": groups },
            })
        })
        .collect();
    json!({ "TotalCount": list.len(), "NextToken": "", "Instances": { "Instance": list } })
}

fn group(request: &Received) -> Result<String, Failure> {
    request.parameter("SecurityGroupId").filter(|id| !id.is_empty()).ok_or_else(|| {
        Failure::new(400, "MissingParameter", "SecurityGroupId is mandatory for this action.")
    })
}

fn no_group() -> Failure {
    let message = "The specified SecurityGroupId does not exist.";
    Failure::new(404, "InvalidSecurityGroupId.NotFound", message)
}

fn listed(
    request: &Received,
    name: &str,
    lists: &BTreeMap<String, Vec<String>>,
) -> Result<(String, Vec<String>), Failure> {
    let id = request.parameter(name).unwrap_or_default();
    let list = lists.get(&id).cloned().ok_or_else(|| {
        let message = "The specified list was not found.";
        Failure::new(404, &format!("Invalid{name}.NotFound"), message)
    })?;
    Ok((id, list))
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}
