use std::path::PathBuf;

use minicol_plugin::config::{ComponentConfig, GoDuration, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The configuration of `file_storage`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FileStorageConfig {
    /// Where it stores; created where it is missing, for its owner only. One process at a time.
    #[schemars(extend("minLength" = 1))]
    pub directory: PathBuf,
    /// How much the stored records may take on disk, in MiB.
    #[schemars(extend("minimum" = 1, "maximum" = LARGEST_MIB))]
    pub max_size_mib: u64,
    /// When what is stored is forced to the disk.
    pub fsync: Fsync,
    /// With `fsync: interval`, how often.
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "1h"))]
    pub fsync_interval: GoDuration,
    /// When the file is made smaller.
    pub compaction: CompactionConfig,
}

/// When what is stored is forced to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fsync {
    /// Before a sender is told that its batch was taken. Senders that wait at the same time share one.
    #[default]
    Always,
    /// Every `fsync_interval`: what was taken since then is lost where the process is killed or the machine stops.
    Interval,
}

/// `compaction`: the store's file keeps the room of records that are gone for later ones; compaction gives it back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CompactionConfig {
    /// At each start.
    pub on_start: bool,
    /// When the file has grown and nearly everything in it is gone.
    pub on_rebound: bool,
    /// How large the file on disk must be for `on_rebound`, in MiB.
    pub rebound_needed_threshold_mib: u64,
    /// How little of it may be in use for `on_rebound`, in MiB.
    pub rebound_trigger_threshold_mib: u64,
    /// How often `on_rebound` looks.
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "1h"))]
    pub check_interval: GoDuration,
}

pub(crate) const MIB: u64 = 1024 * 1024;
/// 1 TiB.
const LARGEST_MIB: u64 = 1024 * 1024;

impl Default for FileStorageConfig {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("/var/lib/minicol/file_storage"),
            max_size_mib: 1024,
            fsync: Fsync::Always,
            fsync_interval: GoDuration::from_secs(1),
            compaction: CompactionConfig::default(),
        }
    }
}

impl Default for CompactionConfig {
    fn default() -> Self {
        Self {
            on_start: false,
            on_rebound: true,
            rebound_needed_threshold_mib: 100,
            rebound_trigger_threshold_mib: 10,
            check_interval: GoDuration::from_secs(5),
        }
    }
}

impl FileStorageConfig {
    pub(crate) fn limit(&self) -> u64 {
        self.max_size_mib.saturating_mul(MIB)
    }
}

impl ComponentConfig for FileStorageConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.directory.as_os_str().is_empty() {
            problems.error("directory", "must not be empty").help("for example /var/lib/minicol/file_storage");
        } else if self.directory.is_file() {
            problems.error("directory", format!("`{}` is a file", self.directory.display())).help("name a directory");
        }
        if !(1..=LARGEST_MIB).contains(&self.max_size_mib) {
            problems
                .error("max_size_mib", format!("must be between 1 and {LARGEST_MIB}, but is {}", self.max_size_mib));
        }
        interval(problems, "fsync_interval", self.fsync_interval);
        problems.within("compaction", |problems| {
            let one = &self.compaction;
            interval(problems, "check_interval", one.check_interval);
            if one.on_rebound && one.rebound_trigger_threshold_mib >= one.rebound_needed_threshold_mib {
                problems
                    .error(
                        "rebound_trigger_threshold_mib",
                        format!(
                            "must be less than rebound_needed_threshold_mib ({}), but is {}",
                            one.rebound_needed_threshold_mib, one.rebound_trigger_threshold_mib
                        ),
                    )
                    .help("10 and 100 are the defaults; `on_rebound: false` switches it off");
            }
        });
    }
}

fn interval(problems: &mut Problems, field: &str, value: GoDuration) {
    let (shortest, longest) = (GoDuration::from_millis(10), GoDuration::from_secs(3600));
    if !(shortest.0..=longest.0).contains(&value.0) {
        problems.error(field, format!("must be between {shortest} and {longest}, but is {value}"));
    }
}
