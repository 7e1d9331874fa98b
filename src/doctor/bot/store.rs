//! The file that everything is kept in, and the disk below it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, StatVfs, access, statvfs};
use rustix::io::Errno;

use super::as_root;
use crate::doctor::examined::{Examined, Starter, quoted};
use crate::doctor::finding::{Depth, Finding, Remedy, Text};
use crate::store::OpenError;
use crate::store::sqlite::{self, Condition};

/// The longest a file is read for damage; a large one takes longer, and is left.
const LIMIT: Duration = Duration::from_secs(2);
/// With less room than this, writes fail or are about to.
const FULL: u64 = 1 << 20;
/// With less room than both of these somebody should make some, as the alert rules say.
const NEARLY_FULL: u64 = 500_000_000;
const NEARLY_FULL_SHARE: f64 = 0.03;

pub(super) async fn look(bot: &Examined, is_root: bool) -> Vec<Finding> {
    let path = bot.store();
    let Some(place) = bot.place(&path) else { return Vec::new() };
    if bot.closed.is_some() && bot.starter == Starter::Hand {
        return vec![unseen(&path)];
    }
    let looked = {
        let (place, runs) = (place.clone(), bot.runs);
        tokio::task::spawn_blocking(move || Seen::of(&place, runs)).await
    };
    let Ok(seen) = looked else { return Vec::new() };
    if seen.closed && !is_root {
        return vec![unseen(&path)];
    }
    let mut findings = Vec::new();
    if let Some(disk) = seen.disk {
        findings.extend(disk_finding(&disk, &path));
    }
    if seen.missing {
        findings.extend(bot.runs.then(|| missing(bot, &path)));
        return findings;
    }
    if let Some(refused) = seen.refused {
        // Who may write there is for the bot's user to find out, unless that is this one.
        let concerns_bot = refused == Errno::ROFS || (bot.starter == Starter::Hand && !bot.runs);
        findings.extend(concerns_bot.then(|| unwritable(bot, &path, &refused.to_string())));
    }
    // One that is worked on says so itself.
    let intact = if bot.runs { None } else { intact(bot, &path, place).await };
    findings.extend(intact);
    findings
}

/// What is to be seen without opening it.
struct Seen {
    /// This user may not look there.
    closed: bool,
    missing: bool,
    /// Why it cannot be written.
    refused: Option<Errno>,
    disk: Option<StatVfs>,
}

impl Seen {
    fn of(place: &Path, runs: bool) -> Self {
        let found = std::fs::metadata(place);
        let is = |kind| found.as_ref().is_err_and(|error| error.kind() == kind);
        // A file that is not there yet is made, with its folder, in what there is above it.
        let there = place.ancestors().find(|it| it.exists()).unwrap_or(Path::new("/"));
        let folder = place.parent().filter(|it| it.exists());
        let refused = [Some(there), folder].into_iter().flatten();
        let refused = refused.filter_map(|it| access(it, Access::WRITE_OK).err()).next();
        Self {
            closed: is(ErrorKind::PermissionDenied),
            missing: is(ErrorKind::NotFound) && (runs || refused.is_none()),
            refused,
            disk: statvfs(there).ok(),
        }
    }
}

async fn intact(bot: &Examined, path: &Path, place: PathBuf) -> Option<Finding> {
    let read = tokio::task::spawn_blocking(move || sqlite::examine(&place));
    let condition = match tokio::time::timeout(LIMIT, read).await {
        Ok(Ok(condition)) => condition,
        // Too large to be read in time, which is no fault.
        Ok(Err(_)) | Err(_) => return None,
    };
    let shown = path.display();
    match condition {
        Ok(Condition::Intact) => Some(Finding::fine(
            "store_intact",
            Text::new(format!("数据库 {shown} 完好"), format!("the store {shown} is intact")),
        )),
        // The next start brings in what a killed process left beside it.
        Ok(Condition::Unfinished) => None,
        Err(OpenError::Newer { found, known, .. }) => Some(newer(bot, path, found, known)),
        Err(OpenError::Corrupt { reason, .. }) => Some(damaged(bot, path, &reason)),
        Err(OpenError::NotAFile { .. }) => Some(unwritable(bot, path, "not a regular file")),
        Err(_) => None,
    }
}

fn disk_finding(disk: &StatVfs, path: &Path) -> Option<Finding> {
    let available = disk.f_bavail.saturating_mul(disk.f_frsize);
    let size = disk.f_blocks.saturating_mul(disk.f_frsize);
    let shown = path.display();
    let folder = quoted(path.parent().unwrap_or(path));
    if disk.f_files > 0 && disk.f_favail == 0 {
        let seen = Text::new(
            format!("数据库 {shown} 所在磁盘的 inode 用完了，建不了新文件"),
            format!("the disk with the store {shown} has no inode left: no file can be made"),
        );
        let remedy = Remedy::new(Text::new(
            "删除大量的小文件；下面的命令看哪个文件系统用完了",
            "Remove masses of small files; this shows which file system is used up",
        ));
        let remedy = remedy.command(format!("df -i {}", folder));
        return Some(Finding::failed("disk_full", Depth::Storage, seen, remedy));
    }
    let room = Remedy::new(Text::new(
        "删除不用的文件，或在 ECS 控制台 → 云盘 → 扩容；腾出空间后 dingbot 会自己恢复",
        "Remove what is not needed, or enlarge the disk: ECS console → Disks → Resize. dingbot \
         goes on by itself once there is room",
    ))
    .command(format!("df -h {}", folder))
    .command("sudo du -xh --max-depth=2 / | sort -rh | head -20")
    .command("sudo journalctl --vacuum-size=200M");
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let (left, whole) = (megabytes(available), megabytes(size));
    if available < FULL {
        let seen = Text::new(
            format!("数据库 {shown} 所在的磁盘满了：{whole} 中剩 {left}，新消息无法保存"),
            format!(
                "the disk with the store {shown} is full: {left} of {whole} left, no message can \
                 be kept"
            ),
        );
        return Some(Finding::failed("disk_full", Depth::Storage, seen, room));
    }
    // A small disk of its own is nearly full only by its share.
    let is_low = available < NEARLY_FULL && (available as f64) < size as f64 * NEARLY_FULL_SHARE;
    is_low.then(|| {
        let seen = Text::new(
            format!("数据库 {shown} 所在的磁盘快满了：{whole} 中剩 {left}"),
            format!("the disk with the store {shown} is nearly full: {left} of {whole} left"),
        );
        Finding::warning("disk_nearly_full", Depth::Storage, seen, room)
    })
}

fn unseen(path: &Path) -> Finding {
    let shown = path.display();
    Finding::unseen(
        "store_unseen",
        Text::new(
            format!("没有权限查看数据库 {shown}"),
            format!("the store {shown} is closed to this user"),
        ),
        as_root(),
    )
}

fn missing(bot: &Examined, path: &Path) -> Finding {
    let shown = path.display();
    Finding::failed(
        "store_missing",
        Depth::Storage,
        Text::new(
            format!("机器人正在运行，但它的数据库 {shown} 不见了，已被删除或移走"),
            format!("the bot runs, and its store {shown} is gone: removed, or moved away"),
        ),
        Remedy::new(Text::new(
            "先停止 dingbot，从备份恢复这个文件，再启动；没有备份时重启会得到一个空的数据库",
            "Stop dingbot, restore the file from a backup, start it; without a backup a restart \
             makes an empty store",
        ))
        .command(bot.restart()),
    )
}

fn unwritable(bot: &Examined, path: &Path, reason: &str) -> Finding {
    let shown = path.display();
    let folder = quoted(path.parent().unwrap_or(path));
    Finding::failed(
        "store_unwritable",
        Depth::Storage,
        Text::new(
            format!("数据库 {shown} 不可写：{reason}"),
            format!("the store {shown} cannot be written: {reason}"),
        ),
        Remedy::new(Text::new(
            "看它所在的文件系统是不是只读挂载（磁盘出错时会变成只读），以及目录属于谁；\
             或用 store.url (DATABASE_PATH) 换一个可写的位置",
            "See whether its file system is mounted read-only (as it becomes after a disk error), \
             and whose the folder is; or set store.url (DATABASE_PATH) to a place that can be \
             written",
        ))
        .command(format!("findmnt -T {folder}; ls -ld {folder}", folder = folder))
        .command(bot.restart()),
    )
}

pub(super) fn damaged(bot: &Examined, path: &Path, reason: &str) -> Finding {
    let shown = path.display();
    let mut away = path.as_os_str().to_owned();
    away.push(".damaged");
    let remedy = Remedy::new(Text::new(
        "停止 dingbot，从备份恢复这个文件，再启动；没有备份时把它移走，会得到一个空的数据库",
        "Stop dingbot, restore the file from a backup, start it. Without a backup move it away: the \
         next start makes an empty store",
    ))
    .command(bot.stop());
    let remedy = match &bot.starter {
        // Where the file is on the host depends on how the volume is mounted.
        Starter::Container(_) => remedy,
        Starter::Unit | Starter::Hand => {
            remedy.command(format!("sudo mv {} {}", quoted(path), quoted(Path::new(&away))))
        }
    };
    Finding::failed(
        "store_damaged",
        Depth::Storage,
        Text::new(
            format!("数据库 {shown} 已损坏，或不是 dingbot 的数据库：{reason}"),
            format!("the store {shown} is damaged, or none of dingbot's: {reason}"),
        ),
        remedy.command(bot.restart()),
    )
}

fn newer(bot: &Examined, path: &Path, found: i64, known: i64) -> Finding {
    let shown = path.display();
    Finding::failed(
        "store_newer",
        Depth::Storage,
        Text::new(
            format!(
                "数据库 {shown} 由更新版本的 dingbot 写成（格式 {found}，这个版本只认识到 {known}）"
            ),
            format!(
                "the store {shown} was written by a newer dingbot (layout {found}; this one knows \
                 {known})"
            ),
        ),
        Remedy::new(Text::new(
            "装回较新的版本，或恢复升级前的备份",
            "Install the newer version again, or restore a backup from before the upgrade",
        ))
        .command(match &bot.starter {
            Starter::Container(name) => format!("docker inspect -f '{{{{.Config.Image}}}}' {name}"),
            Starter::Unit | Starter::Hand => "sudo apt install --only-upgrade dingbot".into(),
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    fn disk(size: u64, available: u64, inodes: u64) -> StatVfs {
        let mut disk = statvfs("/proc").unwrap();
        (disk.f_frsize, disk.f_blocks, disk.f_bavail) = (1, size, available);
        (disk.f_files, disk.f_favail) = (100, inodes);
        disk
    }

    fn judged(size: u64, available: u64, inodes: u64) -> Option<(&'static str, State)> {
        let found = disk_finding(&disk(size, available, inodes), Path::new("/data/dingbot.db"));
        found.map(|finding| (finding.code, finding.state))
    }

    #[test]
    fn a_disk_is_judged_by_what_is_left() {
        let gigabyte = 1_000_000_000;
        assert_eq!(judged(40 * gigabyte, 20 * gigabyte, 9), None);
        assert_eq!(
            judged(40 * gigabyte, gigabyte / 3, 9),
            Some(("disk_nearly_full", State::Warning))
        );
        // A little disk that is nearly empty.
        assert_eq!(judged(8_000_000, 7_000_000, 9), None);
        assert_eq!(judged(8_000_000, 4_096, 9), Some(("disk_full", State::Failed)));
        assert_eq!(judged(40 * gigabyte, 20 * gigabyte, 0), Some(("disk_full", State::Failed)));
    }
}
