//! The short environment variables that other programs of this kind use too.

use std::net::SocketAddr;
use std::path::Path;

use super::environment::{origin, variable};
use super::keys::robot_key;
use super::layer::{Layer, switch};
use super::location;
use super::merge::Merged;

/// Variables that hold the value of one setting as it is. Of two for the same setting the later
/// one wins.
const PLAIN: [(&str, &str); 4] = [
    ("OPENAI_API_KEY", "llm.api_key"),
    ("OPENAI_BASE_URL", "llm.base_url"),
    ("OPENAI_API_BASE", "llm.base_url"),
    ("OPENAI_MODEL", "llm.model"),
];

/// The group robot that `ACCESS_TOKEN` and `SECRET` mean.
const DEFAULT_ROBOT: &str = "default";

/// Reads the short variables; `below` are the earlier layers, which some of them change rather
/// than replace.
pub(super) fn read(environment: &[(String, String)], below: &Merged) -> Layer {
    let mut layer = Layer::default();
    for (name, key) in PLAIN {
        if let Some(value) = variable(environment, name) {
            layer.add_text(key, value, origin(name));
        }
    }
    if let Some(value) = variable(environment, "OPENAI_REQUEST_TIMEOUT") {
        let seconds = value.trim().parse::<u64>().map(|seconds| format!("{seconds}s"));
        let duration = seconds.as_deref().unwrap_or(value);
        layer.add_text("llm.timeout", duration, origin("OPENAI_REQUEST_TIMEOUT"));
    }
    if let Some(value) = variable(environment, "FORCE_MOCK_OPENAI") {
        let origin = origin("FORCE_MOCK_OPENAI");
        match switch(value) {
            Some(true) => layer.add_text("llm.provider", "offline", origin),
            Some(false) => {}
            None => layer.wrong(&origin, "llm.provider", "expected 1 or 0"),
        }
    }
    if let Some(value) = variable(environment, "DATABASE_PATH") {
        let origin = origin("DATABASE_PATH");
        match location::sqlite_url(Path::new(value)) {
            Some(url) => layer.add_text("store.url", &url, origin),
            None => layer.wrong(&origin, "store.url", "expected the path of a file"),
        }
    }
    default_robot(environment, below, &mut layer);
    port(environment, below, &mut layer);
    layer
}

/// `ACCESS_TOKEN` and `SECRET` make or complete the robot `default`. A `SECRET` with no robot to
/// complete is someone else's: half a robot made of it would keep the daemon from starting.
fn default_robot(environment: &[(String, String)], below: &Merged, layer: &mut Layer) {
    let token = robot_key(DEFAULT_ROBOT, "access_token");
    let given = variable(environment, "ACCESS_TOKEN");
    if let Some(value) = given {
        layer.add_text(&token, value, origin("ACCESS_TOKEN"));
    }
    if let Some(value) = variable(environment, "SECRET") {
        if given.is_some() || below.value(&token).is_some_and(|token| token != "") {
            layer.add_text(&robot_key(DEFAULT_ROBOT, "secret"), value, origin("SECRET"));
        } else {
            let message = "passed over: there is no group robot `default`; set ACCESS_TOKEN too";
            layer.warn(&origin("SECRET"), message);
        }
    }
}

/// `PORT` changes the port of every address that the earlier layers listen on.
fn port(environment: &[(String, String)], below: &Merged, layer: &mut Layer) {
    let Some(value) = variable(environment, "PORT") else { return };
    let origin = origin("PORT");
    let Ok(port) = value.trim().parse::<u16>() else {
        return layer.wrong(&origin, "server.listen", "expected a port, such as 8080");
    };
    let mut addresses: Vec<String> = Vec::new();
    let listen = below.value("server.listen").and_then(|value| value.as_array());
    for address in listen.into_iter().flatten().filter_map(|value| value.as_str()) {
        if let Ok(mut address) = address.parse::<SocketAddr>() {
            address.set_port(port);
            let address = address.to_string();
            // Two addresses may have differed in nothing but the port.
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    layer.add("server.listen", addresses.into(), origin);
}
