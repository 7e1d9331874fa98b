//! Configurations as nginx 1.22 printed them (`nginx -T -q` on Debian 12; the table of types is
//! shortened): the site that is shipped, and a shop that has the bot beside its own pages.

use std::net::IpAddr;

use super::asked::{Asked, entrance, names};
use super::configuration::Configuration;
use super::lead::{Lead, Ports};
use super::passing::UNREACHED;
use super::site::{self, Site};
use super::visit;
use super::weighed;
use crate::doctor::door::{Behind, Door};
use crate::doctor::finding::{Depth, Finding, Remedy, State, Text};
use crate::doctor::sockets::{Listener, Owner, Sockets};

const OURS: &str = include_str!("tests/ours.txt");
const SHOP: &str = include_str!("tests/shop.txt");

fn sites(dump: &str) -> Vec<Site> {
    let read = Configuration::of_dump(dump);
    assert_eq!(read.unread, Vec::<String>::new());
    site::all(&read.statements)
}

fn door(address: &str) -> Door {
    let address: std::net::SocketAddr = address.parse().unwrap();
    Door { port: address.port(), bound: vec![address.ip()], container: None }
}

fn listening(places: &[(&str, &str)]) -> Sockets {
    let listener = |(address, name): &(&str, &str)| Listener {
        address: address.parse().unwrap(),
        owners: vec![Owner { pid: 7, name: (*name).into() }],
    };
    Sockets { listeners: places.iter().map(listener).collect(), bots: Vec::new() }
}

fn ports<'a>(doors: &'a [Door], sockets: &'a Sockets) -> Ports<'a> {
    Ports::new(doors, sockets, vec!["172.24.223.120".parse().unwrap()])
}

/// The chosen sites with their passages: `server_name: line path`.
fn chosen(dump: &str, doors: &[Door], sockets: &Sockets) -> Vec<String> {
    let sites = ports(doors, sockets).chosen(&sites(dump));
    sites
        .iter()
        .map(|site| {
            let passages: Vec<String> =
                site.passages.iter().map(|it| format!("{}{}", it.modifier, it.path)).collect();
            format!("{}: {}", site.names[0], passages.join(" "))
        })
        .collect()
}

#[test]
fn the_site_that_is_shipped_leads_to_the_bot() {
    let (doors, sockets) = ([door("127.0.0.1:8080")], Sockets::default());
    let all = ["bot.example.com: / ~^/health/?$ ~^/metrics/?$ ^~/dingtalk/"];
    assert_eq!(chosen(OURS, &doors, &sockets), all);
    let sites = ports(&doors, &sockets).chosen(&sites(OURS));
    let site = &sites[0];
    assert_eq!(site.at.to_string(), "/etc/nginx/sites-enabled/dingbot.conf:58");
    let listen = entrance(site).unwrap();
    assert_eq!((listen.address, listen.port, listen.tls), (None, 443, true));
    let certificate = &site.certificates[0];
    assert_eq!(certificate.path, "/etc/letsencrypt/live/bot.example.com/fullchain.pem");
    assert_eq!(certificate.at.line, 65);
    assert!(!site.balanced);
    let balanced = OURS.replace("# set_real_ip_from", "set_real_ip_from");
    let balanced = self::sites(&balanced);
    assert!(balanced.iter().any(|it| it.balanced));
    for passage in &site.passages {
        let header = passage.header("x-forwarded-for").unwrap();
        assert_eq!((header.value.as_str(), header.at.line), ("$remote_addr", 102));
        // It is taken away.
        assert_eq!(passage.header("Forwarded"), None);
    }
    assert_eq!(visit::outside(&site.passages, "/webhook"), "/webhook");
    let target = &site.passages[0].targets[0];
    assert_eq!((target.at.line, target.text.as_deref()), (19, Some("127.0.0.1:8080")));
}

#[test]
fn a_site_with_a_wrong_port_is_known_by_its_name() {
    let (doors, sockets) = ([door("127.0.0.1:9090")], listening(&[("127.0.0.1:9090", "dingbot")]));
    assert_eq!(chosen(OURS, &doors, &sockets).len(), 1);
    let ports = ports(&doors, &sockets);
    let found = ports.chosen(&sites(OURS));
    let lead = ports.of_passage(&found[0].passages[0]);
    assert_eq!(lead, Lead::Nobody("127.0.0.1:8080".parse().unwrap()));
    // Somebody else's site of the same kind is left alone.
    let other = OURS.replace("dingbot", "gitea").replace("dingtalk", "git").replace("webhook", "x");
    let open = [door("0.0.0.0:9090")];
    assert_eq!(chosen(&other, &open, &sockets), Vec::<String>::new());
    // Unless the bot has no other way in.
    assert_eq!(chosen(&other, &doors, &sockets).len(), 1);
}

#[test]
fn only_what_leads_to_the_bot_is_taken_of_a_shop() {
    let (doors, sockets) = ([door("127.0.0.1:9090")], Sockets::default());
    let expected = ["shop.example.com: /bot/ =/webhook ^~/v1/ ~^/v1/admin", ".test.example.com: /"];
    assert_eq!(chosen(SHOP, &doors, &sockets), expected);
    let found = ports(&doors, &sockets).chosen(&sites(SHOP));
    let [bot, webhook, memory, _] = &found[0].passages[..] else { panic!("{found:?}") };
    // The headers of the server; those of an included file; none, as the location has its own.
    assert_eq!(bot.header("X-Forwarded-For").unwrap().value, "$proxy_add_x_forwarded_for");
    let included = webhook.header("X-Forwarded-For").unwrap();
    assert_eq!(included.at.to_string(), "/etc/nginx/proxy_params:32");
    assert_eq!(memory.header("X-Forwarded-For"), None);
    assert_eq!(found[0].certificates[0].at.to_string(), "/etc/nginx/snippets/tls.conf:1");
    // A server that is down is not asked; a variable is filled in.
    let texts: Vec<_> = bot.targets.iter().map(|it| it.text.as_deref().unwrap()).collect();
    assert_eq!(texts, ["127.0.0.1:9090", "[::1]:9090"]);
    assert_eq!(webhook.targets[0].addresses(), ["127.0.0.1:9090".parse().unwrap()]);
    assert_eq!(webhook.targets[0].text, None);
}

#[test]
fn the_bots_paths_are_asked_for_where_the_site_has_them() {
    let (doors, sockets) = ([door("127.0.0.1:9090")], Sockets::default());
    let found = ports(&doors, &sockets).chosen(&sites(SHOP));
    let passages = &found[0].passages;
    assert_eq!(visit::outside(passages, "/webhook"), "/webhook");
    assert_eq!(visit::outside(passages, "/health"), "/bot/health");
    assert_eq!(visit::outside(&passages[..1], "/webhook"), "/bot/webhook");
}

#[test]
fn names_can_be_asked_for() {
    let found = sites(SHOP);
    let address = "127.0.0.1:443".parse().unwrap();
    let of = |site: &Site| names(site, address);
    assert_eq!(of(&found[1]), ["shop.example.com", "www.shop.example.com"]);
    assert_eq!(of(&found[2]), ["test.example.com"]);
    let named = |names: &[&str]| Site {
        names: names.iter().map(|it| (*it).to_owned()).collect(),
        certificates: Vec::new(),
        ..found[0].clone()
    };
    assert_eq!(of(&named(&["*.example.com"])), ["dingbot.example.com"]);
    assert_eq!(of(&named(&["_", "~^bot\\.", "", "localhost"])), ["127.0.0.1"]);
    // Only a load balancer comes in there.
    assert_eq!(entrance(&found[2]), None);
}

#[test]
fn a_container_is_asked_at_its_port_or_its_address() {
    let mut published = door("127.0.0.1:9090");
    published.container = Some(Behind { name: "dingbot".into(), port: 8080 });
    let (doors, sockets) = ([published], listening(&[("127.0.0.1:9090", "docker-proxy")]));
    let gateway: IpAddr = "172.17.0.1".parse().unwrap();
    let ports = ports(&doors, &sockets).with_container("dingbot", "172.17.0.2", gateway);
    let to =
        |place: &str| sites(&OURS.replace("server 127.0.0.1:8080;", &format!("server {place};")));
    for place in ["127.0.0.1:9090", "172.17.0.2:8080", "localhost:9090"] {
        let found = ports.chosen(&to(place));
        let passage = &found[0].passages[0];
        assert_eq!(ports.of_passage(passage), Lead::Bot(&doors[0]), "{place}");
        let sources = ports.sources(passage, &passage.targets[0], &doors[0]);
        assert_eq!(sources, [gateway], "{place}");
    }
    let found = ports.chosen(&to("172.17.0.2:9090"));
    let lead = ports.of_passage(&found[0].passages[0]);
    assert_eq!(lead, Lead::Nobody("172.17.0.2:9090".parse().unwrap()));
}

/// The codes, with their states, of what counts of sites of which each passes callbacks on or is
/// meant to.
fn counted(sites: &[(bool, bool)], inside: bool) -> Vec<(&'static str, State)> {
    let text = || Text::new("", "");
    let unreached = || Finding::failed(UNREACHED, Depth::Proxy, text(), Remedy::new(text()));
    let asked = sites.iter().map(|(passes, meant)| Asked {
        passes: passes.then(|| Finding::fine("proxy_passes", text())),
        obstacle: (!passes).then(unreached),
        meant: *meant,
        certificates: Vec::new(),
    });
    weighed(asked.collect(), inside).iter().map(|it| (it.code, it.state)).collect()
}

#[test]
fn a_site_that_is_not_for_callbacks_need_not_pass_them_on() {
    assert_eq!(counted(&[(false, false)], true), [(UNREACHED, State::Failed)]);
    assert_eq!(counted(&[(false, true)], false), [(UNREACHED, State::Warning)]);
    assert_eq!(counted(&[(false, false)], false), []);
    assert_eq!(counted(&[(false, true), (true, true)], true), [("proxy_passes", State::Fine)]);
}
