//! File, environment and flags become one [`Config`].

use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use crate::{Config, ConfigError};

/// The prefix of environment variables: `PERIGEE_LISTEN__PG` is `pg` in `[listen]`.
const PREFIX: &str = "PERIGEE_";
/// Short names of the variables that the simplest set-up needs.
const SHORT: [(&str, &str); 2] =
    [("PERIGEE_ADMIN_TOKEN", "security.admin_token"), ("PERIGEE_READONLY_TOKEN", "security.read_only_token")];

/// Where settings come from, weakest first: defaults, file, environment, flags.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The file, if one is named. A named file must exist.
    pub file: Option<PathBuf>,
    /// Environment variables; those without the prefix, or without `__` behind it, are not settings.
    pub environment: Vec<(String, String)>,
    /// Flags: the flag as written, the setting (`section.key`) and its value.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

impl Layers {
    /// The process's own environment.
    #[must_use]
    pub fn from_process(file: Option<PathBuf>, flags: Vec<(&'static str, &'static str, String)>) -> Self {
        // A variable that is no UTF-8 cannot be one of ours.
        let pairs = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self { file, environment: pairs.collect(), flags }
    }

    /// Puts the layers together and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`], naming the setting and the layer.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let config = self.load_unchecked()?;
        config.validate()?;
        Ok(config)
    }

    fn load_unchecked(&self) -> Result<Config, ConfigError> {
        let mut figment = Figment::new();
        if let Some(path) = &self.file {
            let text =
                std::fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.clone(), source })?;
            figment = figment.merge(File { path, text });
        }
        let short = self.environment.iter().filter_map(|(name, value)| {
            let (_, setting) = SHORT.iter().find(|(short, _)| short == name)?;
            Some((name.as_str(), (*setting).to_owned(), value.as_str()))
        });
        let environment = self.environment.iter().filter_map(|(name, value)| {
            let (section, key) = name.strip_prefix(PREFIX)?.split_once("__")?;
            Some((name.as_str(), format!("{}.{}", section.to_lowercase(), key.to_lowercase()), value.as_str()))
        });
        // The long name, which says where it belongs, wins over the short one.
        let environment = short.chain(environment);
        for (name, setting, value) in environment {
            figment = figment.merge(One { source: format!("environment variable {name}"), setting, value });
        }
        for (flag, setting, value) in &self.flags {
            figment = figment.merge(One { source: format!("flag {flag}"), setting: (*setting).to_owned(), value });
        }
        figment.extract().map_err(|error| ConfigError::Value(describe(error)))
    }
}

/// A TOML file whose errors name it as the user did.
struct File<'a> {
    path: &'a Path,
    text: String,
}

impl Provider for File<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(format!("file {}", self.path.display()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Toml::string(&self.text).data()
    }
}

/// One setting from outside the file. Values stay text: each setting reads its own form.
struct One<'a> {
    source: String,
    setting: String,
    value: &'a str,
}

impl Provider for One<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let value = figment::util::nest(&self.setting, Value::from(self.value));
        let dict = value.into_dict().unwrap_or_default();
        Ok(Profile::Default.collect(dict))
    }
}

/// One line: what is wrong, for which setting, from where.
fn describe(error: figment::Error) -> String {
    let mut lines = Vec::new();
    for error in error {
        let mut line = error.kind.to_string();
        if !error.path.is_empty() {
            line = format!("{}: {line}", error.path.join("."));
        }
        if let Some(metadata) = &error.metadata {
            line = format!("{line} (in {})", metadata.name);
        }
        lines.push(line);
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, ByteSize, Durability, LogFormat};

    fn layers(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &'static str, &str)]) -> Layers {
        let folder = tempfile::tempdir().unwrap().keep();
        let path = folder.join("test.toml");
        std::fs::write(&path, file).unwrap();
        Layers {
            file: Some(path),
            environment: environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            flags: flags.iter().map(|(flag, setting, v)| (*flag, *setting, (*v).to_owned())).collect(),
        }
    }

    #[test]
    fn nothing_given_is_the_default() {
        assert_eq!(Layers::default().load().unwrap(), Config::default());
    }

    #[test]
    fn flags_win_over_environment_over_file() {
        let file = "[listen]\npg = \"127.0.0.1:1\"\nops = \"127.0.0.1:2\"\n[node]\nid = \"file\"\n";
        let environment = [("PERIGEE_LISTEN__PG", "127.0.0.1:3"), ("PERIGEE_NODE__ID", "7"), ("HOME", "x")];
        let flags = [("--pg-address", "listen.pg", "127.0.0.1:4")];
        let config = layers(file, &environment, &flags).load().unwrap();
        assert_eq!(config.listen.pg, Address::At("127.0.0.1:4".to_owned()));
        assert_eq!(config.listen.ops, Address::At("127.0.0.1:2".to_owned()));
        assert_eq!(config.node.id, "7");
    }

    #[test]
    fn text_becomes_what_the_setting_is() {
        let environment = [
            ("PERIGEE_QUERY__THREADS", "3"),
            ("PERIGEE_SECURITY__INSECURE", "true"),
            ("PERIGEE_MEMORY__ROOT", "1GB"),
            ("PERIGEE_LOG__DURABILITY", "interval"),
            ("PERIGEE_LOG__SYNC_INTERVAL", "200ms"),
            ("PERIGEE_TELEMETRY__FORMAT", "json"),
            ("PERIGEE_BIN", "not a setting"),
        ];
        let config = layers("", &environment, &[]).load().unwrap();
        assert_eq!(config.query.threads, 3);
        assert!(config.security.insecure);
        assert_eq!(config.memory.root, Some(ByteSize::mb(1024)));
        assert_eq!(config.log.durability, Durability::Interval);
        assert_eq!(config.log.sync_interval.duration().as_millis(), 200);
        assert_eq!(config.telemetry.format, LogFormat::Json);
    }

    #[test]
    fn tokens_have_short_names_too() {
        let (short, long) =
            (("PERIGEE_ADMIN_TOKEN", "0123456789abcdef"), ("PERIGEE_SECURITY__ADMIN_TOKEN", "fedcba9876543210"));
        let token = |environment: &[(&str, &str)]| {
            let config = layers("", environment, &[]).load().unwrap();
            config.security.admin_token.unwrap().reveal().to_owned()
        };
        assert_eq!(token(&[short]), short.1);
        assert_eq!(token(&[long, short]), long.1);
        let config = layers("", &[("PERIGEE_READONLY_TOKEN", "0123456789abcdef")], &[]).load().unwrap();
        assert!(config.security.read_only_token.is_some());
    }

    #[test]
    fn an_error_names_the_setting_and_the_layer() {
        let check = |layers: Layers, parts: &[&str]| {
            let text = layers.load().unwrap_err().to_string();
            for part in parts {
                assert!(text.contains(part), "{text:?} lacks {part:?}");
            }
        };
        check(layers("[listen]\npgg = \"off\"\n", &[], &[]), &["pgg", "listen", "test.toml"]);
        check(layers("[listen]\npg = 5432\n", &[], &[]), &["listen.pg", "test.toml"]);
        check(layers("[memory\n", &[], &[]), &["test.toml"]);
        let environment = [("PERIGEE_MEMORY__ROOT", "much")];
        check(layers("", &environment, &[]), &["memory.root", "much", "environment variable PERIGEE_MEMORY__ROOT"]);
        let flags = [("--hot-memory", "memory.hot", "1XB")];
        check(layers("", &[], &flags), &["memory.hot", "1XB", "flag --hot-memory"]);
        let gone = Layers { file: Some("no/such/file.toml".into()), ..Layers::default() };
        check(gone, &["no/such/file.toml"]);
    }
}
