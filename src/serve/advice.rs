//! What an operator should know of the settings, right after the start.

use std::net::SocketAddr;

use crate::config::Settings;

/// Says what is open, what is missing, and while nothing is set up, the next steps.
pub(super) fn give(settings: &Settings, listen: &[SocketAddr]) {
    let unguarded = settings.dingtalk.client_secret.is_empty();
    if unguarded && settings.dingtalk.allow_unsigned {
        tracing::warn!("dingtalk.allow_unsigned is on: anybody who reaches /webhook is served");
    } else if unguarded {
        tracing::info!("no dingtalk.client_secret: /webhook serves loopback callers only");
    }
    if settings.llm.is_offline() {
        tracing::info!(
            "no llm.api_key (OPENAI_API_KEY): answers come from memory and commands alone"
        );
    }
    if unguarded && !settings.dingtalk.allow_unsigned {
        let port = listen.first().map_or(0, SocketAddr::port);
        tracing::info!(
            "next step 1 of 3: set dingtalk.client_secret (the application's AppSecret) and \
             llm.api_key; with the Debian package as files in /etc/dingbot/credentials, see \
             dingbot.toml(5)"
        );
        tracing::info!(
            "next step 2 of 3: restart the daemon, then ask `dingbot check` and `dingbot health`"
        );
        tracing::info!(
            "next step 3 of 3: let the outside reach TCP port {port}, or the one it is published \
             as (on ECS in the security group), and set http://PUBLIC-ADDRESS:PORT/webhook as the \
             robot's address in the DingTalk console"
        );
    }
}
