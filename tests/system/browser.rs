//! The pages in a browser: on a phone and on a desk, light and dark.

mod devtools;

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use self::devtools::{Browser, Tab};
use crate::support::model::Reply;
use crate::support::namespace::Network;
use crate::support::stage::Stage;

/// Name, width, height, and whether it is a phone.
const SCREENS: [(&str, u32, u32, bool); 2] =
    [("phone", 390, 844, true), ("desk", 1280, 800, false)];
const SCHEMES: [&str; 2] = ["light", "dark"];
/// The longest a test may take.
const TEST: Duration = Duration::from_secs(120);

/// What is wider than the screen, and every text whose contrast with what is behind it is below
/// WCAG 2.2 AA (1.4.3): 4.5, or 3 for large text; and every bar below 3 (1.4.11).
const INSPECT: &str = r#"(() => {
  const luminance = ([r, g, b]) => {
    const part = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const parse = colour => colour.match(/[\d.]+/g).map(Number);
  const clear = colour => (parse(colour)[3] ?? 1) === 0;
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!clear(colour)) return parse(colour);
    }
    throw new Error('no ground under ' + element.outerHTML);
  };
  const contrast = (a, b) => {
    const [x, y] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (x + 0.05) / (y + 0.05);
  };
  const faint = [];
  let texts = 0, bars = 0, least = 21;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest('svg')) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const ratio = contrast(parse(style.color), behind(element));
    texts++;
    least = Math.min(least, ratio);
    if (ratio < (large ? 3 : 4.5)) faint.push([node.data.trim(), ratio]);
  }
  for (const bar of document.querySelectorAll('rect')) {
    const ratio = contrast(parse(getComputedStyle(bar).fill), behind(bar.closest('figure')));
    bars++;
    if (ratio < 3) faint.push([bar.textContent, ratio]);
  }
  const width = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll('body *')].filter(e =>
    e.getBoundingClientRect().right > width + 0.5 || e.scrollWidth > e.clientWidth + 1 && e.clientWidth);
  return {
    texts, bars, least, faint, width: innerWidth,
    overflow: document.documentElement.scrollWidth > width,
    wide: wide.map(e => e.outerHTML.slice(0, 80)),
    text: document.body.innerText,
  };
})()"#;

/// Runs `test` with a browser, in a network without a way out: a browser calls home.
fn browse(test: impl AsyncFnOnce(&Browser, &mut Stage) + Send) {
    let network = match Network::new("127.0.0.1 localhost\n", &[]) {
        Ok(network) => network,
        Err(why) => return println!("skipped: a browser: {why}"),
    };
    network.host.run_made(|| async {
        let Some(browser) = Browser::start().await else {
            return println!("skipped: a browser: chromium is not installed");
        };
        let mut stage = Stage::new().await;
        let done = tokio::time::timeout(TEST, test(&browser, &mut stage)).await;
        assert!(done.is_ok(), "the test takes more than {TEST:?}");
    });
}

#[test]
fn the_pages_fit_every_screen_and_can_be_read_in_light_and_dark() {
    browse(async |browser, stage| {
        stage.model.answer_next([Reply::text("第一"), Reply::Unauthorized, Reply::text("第二")]);
        for text in ["one", "two", "three"] {
            let from = stage.dingtalk.callback().from(text).text(text);
            stage.daemon.accepts(from).await;
        }
        let handled = "dingbot_reply_duration_seconds_count";
        stage.daemon.wait_for_metrics("answers", |metrics| metrics.sum(handled, &[]) == 3.0).await;
        for path in ["/", "/help"] {
            for (screen, width, height, phone) in SCREENS {
                for scheme in SCHEMES {
                    let what = format!("{path} on a {screen}, {scheme}");
                    let mut tab = browser.tab(width, height, phone, scheme).await;
                    tab.open(&stage.daemon.url(path)).await;
                    look(&mut tab, &what, width, scheme, path == "/").await;
                    assert_eq!(tab.complaints(), [] as [String; 0], "{what}");
                }
            }
        }
    });
}

async fn look(tab: &mut Tab<'_>, what: &str, width: u32, scheme: &str, landing: bool) {
    let seen = tab.evaluate(INSPECT).await;
    assert_eq!(seen["width"], width, "{what}");
    assert_eq!(seen["overflow"], false, "{what}: {}", seen["wide"]);
    assert_eq!(seen["wide"], serde_json::json!([]), "{what}");
    assert_eq!(seen["faint"], serde_json::json!([]), "{what}");
    assert!(seen["texts"].as_u64().is_some_and(|texts| texts > 15), "{what}: {seen}");
    if landing {
        assert!(seen["bars"].as_u64().is_some_and(|bars| bars >= 3), "{what}: {seen}");
        let text = seen["text"].as_str().unwrap();
        for part in ["运行正常", "收到的消息", "127.0.0.1:", "GET /health"] {
            assert!(text.contains(part), "{what} has no {part}: {text}");
        }
    }
    let picture = tab.screenshot().await;
    if let Some(folder) = std::env::var_os("DINGBOT_SCREENSHOTS") {
        let name = what.replace([' ', ','], "-").replace('/', "_");
        std::fs::write(std::path::Path::new(&folder).join(name + ".png"), &picture).unwrap();
    }
    is_not_blank(&picture, what, width, scheme);
    println!(
        "{what}: {} texts, least contrast {:.2}",
        seen["texts"],
        seen["least"].as_f64().unwrap()
    );
}

/// Has a ground that is light or dark as asked, and enough else on it to be text.
fn is_not_blank(png: &[u8], what: &str, width: u32, scheme: &str) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.width, width, "{what}");
    let samples = info.color_type.samples();
    let mut colours: BTreeMap<[u8; 3], usize> = BTreeMap::new();
    for pixel in pixels[..info.buffer_size()].chunks_exact(samples) {
        *colours.entry([pixel[0], pixel[1], pixel[2]]).or_default() += 1;
    }
    let all: usize = colours.values().sum();
    let (ground, most) = colours.iter().max_by_key(|(_, count)| **count).unwrap();
    let share = *most as f64 / all as f64;
    assert!((0.5..0.99).contains(&share) && colours.len() > 30, "{what}: {share} is ground");
    let bright = ground.iter().map(|part| u32::from(*part)).sum::<u32>() > 3 * 128;
    assert_eq!(bright, scheme == "light", "{what}: the ground is {ground:?}");
}

#[test]
fn a_page_without_figures_is_as_readable() {
    browse(async |browser, stage| {
        stage
            .daemon
            .restart_with(
                crate::support::settings::Settings::bare()
                    .set("server.metrics_allow", "[\"192.0.2.0/24\"]"),
            )
            .await;
        let mut tab = browser.tab(390, 844, true, "dark").await;
        tab.open(&stage.daemon.url("/")).await;
        let seen: Value = tab.evaluate(INSPECT).await;
        let text = seen["text"].as_str().unwrap();
        assert!(text.contains("运行正常") && text.contains("GET /health"), "{text}");
        assert!(!text.contains("127.0.0.1") && !text.contains("收到的消息"), "{text}");
        assert_eq!(seen["faint"], serde_json::json!([]));
        assert_eq!(tab.complaints(), [] as [String; 0]);
    });
}

/// Base64 as the protocol has it.
fn decoded(text: &str) -> Vec<u8> {
    STANDARD.decode(text).expect("base64")
}
