//! Mount options, as `mount(8)` and the kubelet hand them on: `hard,timeo=600,port=2049`.
//!
//! Those that decide what a process sees are honoured; the others are accepted with a note, because an option that
//! the kernel's client knows must not keep a pod from starting here. A known option with a value that cannot be
//! read is an error.
use std::time::Duration;

/// How an export is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Nothing can be changed through this mount.
    pub is_read_only: bool,
    /// Requests end with EIO when the server does not answer; else they wait for ever.
    pub is_soft: bool,
    /// How long one try of a request may take.
    pub timeo: Duration,
    /// How many more tries a soft mount makes.
    pub retrans: u32,
    /// The port of NFS; without it 2049.
    pub port: Option<u16>,
    /// The port of MOUNT; without it that of NFS, then what the port mapper says.
    pub mount_port: Option<u16>,
    /// How long mounting itself is tried while the server cannot be reached.
    pub retry: Duration,
    /// How long attributes and names are believed.
    pub attribute_cache: Duration,
    /// Largest READ.
    pub read_bytes: Option<u32>,
    /// Largest WRITE.
    pub write_bytes: Option<u32>,
    /// Every write is on the server's disk before it returns.
    pub is_sync: bool,
    /// Set-id bits count.
    pub is_suid: bool,
    /// Device files work.
    pub is_dev: bool,
    /// Programs run.
    pub is_exec: bool,
    /// What was accepted and does nothing here, in words.
    pub notes: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            is_read_only: false,
            is_soft: false,
            timeo: Duration::from_secs(60),
            retrans: 2,
            port: None,
            mount_port: None,
            retry: Duration::from_secs(120),
            attribute_cache: Duration::from_secs(1),
            read_bytes: None,
            write_bytes: None,
            is_sync: false,
            is_suid: true,
            is_dev: true,
            is_exec: true,
            notes: Vec::new(),
        }
    }
}

/// An option's value cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mount option {option:?} needs {needed}")]
pub struct BadOption {
    /// As it was given.
    pub option: String,
    /// What it needs.
    pub needed: &'static str,
}

impl Options {
    /// Reads a comma-separated list; later options win.
    ///
    /// # Errors
    /// [`BadOption`] for a known option with a value that cannot be read.
    pub fn parse(list: &str) -> Result<Self, BadOption> {
        let mut options = Self::default();
        for option in list.split(',').map(str::trim).filter(|option| !option.is_empty()) {
            options.read(option)?;
        }
        Ok(options)
    }
    /// After this long without an answer a soft mount gives up: every try takes `timeo`, as over TCP in Linux.
    pub fn patience(&self) -> Option<Duration> {
        self.is_soft.then(|| self.timeo.saturating_mul(self.retrans.saturating_add(1)))
    }

    fn read(&mut self, option: &str) -> Result<(), BadOption> {
        let (name, value) =
            option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        let number = |needed: &'static str| {
            let bad = || BadOption { option: option.to_owned(), needed };
            value.ok_or_else(bad)?.parse::<u32>().map_err(|_| bad())
        };
        let port = || {
            let needed = "a port from 1 to 65535";
            let port = u16::try_from(number(needed)?).ok().filter(|port| *port != 0);
            port.ok_or_else(|| BadOption { option: option.to_owned(), needed })
        };
        match name {
            "ro" => self.is_read_only = true,
            "rw" => self.is_read_only = false,
            "hard" => self.is_soft = false,
            "soft" | "softerr" => self.is_soft = true,
            "timeo" => {
                let tenths = number("a number of tenths of a second")?.max(1);
                self.timeo = Duration::from_millis(u64::from(tenths) * 100);
            }
            "retrans" => self.retrans = number("a number")?,
            "retry" => self.retry = Duration::from_secs(u64::from(number("a number of minutes")?) * 60),
            "port" => self.port = Some(port()?),
            "mountport" => self.mount_port = Some(port()?),
            "rsize" => self.read_bytes = Some(number("a number of bytes")?.max(4096)),
            "wsize" => self.write_bytes = Some(number("a number of bytes")?.max(4096)),
            "actimeo" | "acregmin" => {
                self.attribute_cache = Duration::from_secs(u64::from(number("a number of seconds")?));
            }
            "noac" => (self.attribute_cache, self.is_sync) = (Duration::ZERO, true),
            "sync" => self.is_sync = true,
            "async" => self.is_sync = false,
            "suid" => self.is_suid = true,
            "nosuid" => self.is_suid = false,
            "dev" => self.is_dev = true,
            "nodev" => self.is_dev = false,
            "exec" => self.is_exec = true,
            "noexec" => self.is_exec = false,
            "vers" | "nfsvers" | "v3" | "v4" | "v4.0" | "v4.1" | "v4.2" | "minorversion" => {
                if name != "v3" && value != Some("3") {
                    self.notes.push(format!("{option}: this helper speaks NFS version 3"));
                }
            }
            // What every NFSv3 client over TCP does anyway, or what has no meaning without the kernel's locks.
            "nolock" | "lock" | "nfs" | "tcp" | "proto" | "mountproto" | "sec" | "fg" | "defaults"
            | "auto" | "noauto" | "user" | "nouser" | "_netdev" | "intr" | "nointr" | "relatime"
            | "noatime" | "nodiratime" | "ac" | "local_lock" => match (name, value) {
                ("proto" | "mountproto", Some("udp" | "udp6" | "rdma")) => {
                    self.notes.push(format!("{option}: this helper speaks TCP"));
                }
                ("sec", Some(flavor)) if flavor != "sys" && flavor != "none" => {
                    self.notes.push(format!("{option}: this helper speaks AUTH_SYS"));
                }
                _ => {}
            },
            _ => self.notes.push(format!("{option}: unknown here, ignored")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kubelet_hands_on_is_understood() {
        let options =
            Options::parse("rw,hard,nolock,timeo=600,retrans=3,nfsvers=4.1,port=2049,mountport=20048")
                .unwrap();
        assert_eq!((options.port, options.mount_port), (Some(2049), Some(20048)));
        assert_eq!((options.timeo, options.patience()), (Duration::from_secs(60), None));
        assert_eq!(options.notes, ["nfsvers=4.1: this helper speaks NFS version 3"]);
        let soft = Options::parse("ro,soft,timeo=10,retrans=1,nodev,actimeo=0").unwrap();
        assert_eq!(soft.patience(), Some(Duration::from_secs(2)));
        assert!(soft.is_read_only && !soft.is_dev);
        assert_eq!(Options::parse("").unwrap(), Options::default());
        assert!(!Options::parse("ro,rw,soft,hard").unwrap().is_read_only);
        assert_eq!(Options::parse("fsc,proto=udp").unwrap().notes.len(), 2);
    }

    #[test]
    fn a_value_that_cannot_be_read_is_an_error() {
        for option in ["timeo=soon", "port=0", "port=70000", "retrans", "timeo="] {
            assert_eq!(Options::parse(option).unwrap_err().option, option);
        }
    }
}
