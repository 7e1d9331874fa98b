//! The OpenAPI of ECS, version 2014-05-26: the calls that are needed here, and its errors told
//! apart.

mod error;
mod wire;

use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use ipnet::IpNet;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use uuid::Uuid;

pub(in crate::doctor) use self::error::ApiError;
use self::wire::{Attribute, Instances, PortRanges, PrefixList, Problem};
use super::acs3::{self, Request};
use super::credentials::Credentials;
use super::rules::{Rule, Sources};
use crate::outbound;

const VERSION: &str = "2014-05-26";
/// The longest a request may take.
const LIMIT: Duration = Duration::from_millis(1_500);
/// How long the public endpoint is waited for before that of the VPC is asked as well: an instance
/// without a public address reaches the latter alone.
const HEAD_START: Duration = Duration::from_millis(500);
/// How long a call that was throttled waits before it is made again, once.
const PAUSE: Duration = Duration::from_millis(400);
/// Rules asked for at a time: the most that is allowed. A network interface has at most a thousand
/// in all its groups, so that more than a few pages are no answer of ECS.
const PAGE: &str = "1000";
const PAGES: usize = 5;
/// Longest answer that is read, in bytes.
const LARGEST: usize = 8 * 1024 * 1024;

/// The API in one region, asked with one access key.
#[derive(Debug)]
pub(in crate::doctor) struct Api {
    client: reqwest::Client,
    region: String,
    credentials: Credentials,
    /// The endpoint that was reached first.
    endpoint: OnceCell<String>,
}

/// A group, with its rules for incoming packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) struct SecurityGroup {
    /// `sg-…`
    pub(in crate::doctor) id: String,
    pub(in crate::doctor) rules: Vec<Rule>,
}

/// A rule to be added, which lets in TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) struct Authorize<'a> {
    pub(in crate::doctor) group: &'a str,
    pub(in crate::doctor) port: u16,
    pub(in crate::doctor) source: IpNet,
    /// The same for the same wish, so that it is carried out once.
    pub(in crate::doctor) client_token: &'a str,
}

type Query = Vec<(String, String)>;

impl Api {
    /// Of `region`; `credentials` are shown to nobody else.
    pub(in crate::doctor) fn new(region: &str, credentials: Credentials) -> Result<Self, ApiError> {
        let client =
            outbound::client(LIMIT).map_err(|error| ApiError::Unreachable(error.to_string()))?;
        let region = region.to_owned();
        Ok(Self { client, region, credentials, endpoint: OnceCell::new() })
    }

    /// The groups of the instance's first network interface; several add up.
    pub(in crate::doctor) async fn groups_of(
        &self,
        instance: &str,
    ) -> Result<Vec<String>, ApiError> {
        const ACTION: &str = "DescribeInstances";
        let mut query = self.query(&[("InstanceIds", &format!("[\"{instance}\"]"))]);
        let found: Instances = self.call(ACTION, &query).await?;
        if let Some(found) = found.instance(instance) {
            return Ok(found);
        }
        // Who may not see it was told for years that there is nothing.
        query.push(("DryRun".into(), "true".into()));
        match self.call::<Instances>(ACTION, &query).await {
            Err(ApiError::Other { code, .. }) if code == "DryRunOperation" => {
                Err(ApiError::NotOfThisAccount)
            }
            Err(error) => Err(error),
            Ok(_) => Err(ApiError::NotPermitted { action: ACTION }),
        }
    }

    /// The rules of a group for incoming packets, with the lists they name.
    pub(in crate::doctor) async fn group(&self, id: &str) -> Result<SecurityGroup, ApiError> {
        const ACTION: &str = "DescribeSecurityGroupAttribute";
        let first = self.query(&[
            ("SecurityGroupId", id),
            ("Direction", "ingress"),
            ("NicType", "intranet"),
            ("MaxResults", PAGE),
        ]);
        let mut query = first.clone();
        let mut permissions = Vec::new();
        for _ in 0..PAGES {
            let page: Attribute = self.call(ACTION, &query).await?;
            permissions.extend(page.permissions.permission);
            if page.next_token.is_empty() {
                break;
            }
            query.clone_from(&first);
            query.push(("NextToken".into(), page.next_token));
        }
        let rules = permissions.iter().filter(|permission| permission.is_ingress());
        let rules = join_all(rules.map(|permission| self.rule(id, permission))).await;
        Ok(SecurityGroup { id: id.to_owned(), rules })
    }

    /// Adds a rule; a rule that exists already is no error.
    pub(in crate::doctor) async fn authorize(&self, rule: &Authorize<'_>) -> Result<(), ApiError> {
        let mut query = self.query(&[
            ("SecurityGroupId", rule.group),
            ("ClientToken", rule.client_token),
            ("Permissions.1.IpProtocol", "TCP"),
            ("Permissions.1.PortRange", &format!("{0}/{0}", rule.port)),
            ("Permissions.1.Policy", "accept"),
            ("Permissions.1.Priority", "1"),
            ("Permissions.1.NicType", "intranet"),
            ("Permissions.1.Description", "dingbot"),
        ]);
        let name = match rule.source {
            IpNet::V4(_) => "Permissions.1.SourceCidrIp",
            IpNet::V6(_) => "Permissions.1.Ipv6SourceCidrIp",
        };
        query.push((name.into(), rule.source.to_string()));
        self.call::<serde_json::Value>("AuthorizeSecurityGroup", &query).await.map(drop)
    }

    async fn rule(&self, group: &str, permission: &wire::Permission) -> Rule {
        let mut rule = permission.rule(group);
        if !permission.source_prefix_list_id.is_empty() {
            let list = &permission.source_prefix_list_id;
            let query = self.query(&[("PrefixListId", list)]);
            let found = self.call::<PrefixList>("DescribePrefixListAttributes", &query).await;
            rule.sources = match found {
                Ok(found) => found.sources(list),
                Err(_) => Sources::Unknown(list.clone()),
            };
        }
        if !permission.port_range_list_id.is_empty() {
            let list = &permission.port_range_list_id;
            let query = self.query(&[("PortRangeListId", list)]);
            let found = self.call::<PortRanges>("DescribePortRangeListEntries", &query).await;
            match found.ok().and_then(|found| found.ranges()) {
                Some(ranges) => rule.ports = ranges,
                None => rule = rule.of_unknown_ports(list),
            }
        }
        rule
    }

    fn query(&self, parameters: &[(&str, &str)]) -> Query {
        let region = [("RegionId", self.region.as_str())];
        let all = region.iter().chain(parameters);
        all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Makes a call, at the endpoint that answers.
    async fn call<T: DeserializeOwned>(
        &self,
        action: &'static str,
        query: &Query,
    ) -> Result<T, ApiError> {
        let answer = self.call_once(action, query).await;
        if !matches!(answer, Err(ApiError::Throttled { .. })) {
            return answer;
        }
        tokio::time::sleep(PAUSE).await;
        self.call_once(action, query).await
    }

    async fn call_once<T: DeserializeOwned>(
        &self,
        action: &'static str,
        query: &Query,
    ) -> Result<T, ApiError> {
        if let Some(endpoint) = self.endpoint.get() {
            return self.call_at(endpoint, action, query).await;
        }
        let public = format!("ecs.{}.aliyuncs.com", self.region);
        let inner = format!("ecs-vpc.{}.aliyuncs.com", self.region);
        let first = std::pin::pin!(self.call_at(&public, action, query));
        let second = std::pin::pin!(async {
            tokio::time::sleep(HEAD_START).await;
            self.call_at(&inner, action, query).await
        });
        let (endpoint, answer) = match select(first, second).await {
            Either::Left((Err(unreachable @ ApiError::Unreachable(_)), second)) => {
                match second.await {
                    Err(ApiError::Unreachable(_)) => return Err(unreachable),
                    answer => (&inner, answer),
                }
            }
            Either::Left((answer, _)) => (&public, answer),
            Either::Right((Err(ApiError::Unreachable(_)), first)) => (&public, first.await),
            Either::Right((answer, _)) => (&inner, answer),
        };
        if !matches!(answer, Err(ApiError::Unreachable(_))) {
            // Calls side by side may both have found one.
            let _ = self.endpoint.set(endpoint.clone());
        }
        answer
    }

    async fn call_at<T: DeserializeOwned>(
        &self,
        host: &str,
        action: &'static str,
        query: &Query,
    ) -> Result<T, ApiError> {
        let payload = acs3::sha256(b"");
        let mut headers = vec![
            ("host", host.to_owned()),
            ("x-acs-action", action.to_owned()),
            ("x-acs-version", VERSION.to_owned()),
            ("x-acs-date", Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            ("x-acs-signature-nonce", Uuid::new_v4().simple().to_string()),
            ("x-acs-content-sha256", payload.clone()),
        ];
        if let Some(token) = &self.credentials.token {
            headers.push(("x-acs-security-token", token.expose().to_owned()));
        }
        let signed =
            Request { method: "POST", path: "/", query, headers: &headers, payload: &payload };
        let Credentials { key, secret, .. } = &self.credentials;
        let authorization = acs3::authorization(&signed, key, secret);
        let url = format!("https://{host}/?{}", acs3::canonical_query(query));
        let request = headers
            .iter()
            .filter(|(name, _)| *name != "host")
            .fold(self.client.post(url), |request, (name, value)| request.header(*name, value));
        let answer = request
            .header("authorization", authorization)
            .header("accept", "application/json")
            // Says that there is none: a gateway may ask for the length of every POST.
            .body("")
            .timeout(LIMIT)
            .send()
            .await
            .map_err(|error| ApiError::unreachable(host, &error))?;
        let status = answer.status();
        let body = read(answer).await.map_err(|error| ApiError::unreachable(host, &error))?;
        if status.is_success()
            && let Ok(answer) = serde_json::from_slice(&body)
        {
            return Ok(answer);
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(ApiError::of(action, status.as_u16(), problem)),
            Err(_) => Err(ApiError::Unreachable(format!(
                "{host} answered {} with something that is not the API's",
                status.as_u16()
            ))),
        }
    }
}

/// The body of an answer, or as much of it as is sensible.
async fn read(mut answer: reqwest::Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST {
            break;
        }
    }
    Ok(body)
}
