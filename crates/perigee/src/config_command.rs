//! `perigee config check|print`.

use perigee_config::{Config, Layers};
use perigee_telemetry::logs;

use crate::cli::SettingArguments;
use crate::failure::Failure;

/// Says whether a node would start with these settings, as far as settings decide it.
pub(crate) fn check(settings: &SettingArguments) -> Result<(), Failure> {
    let config = load(settings)?;
    let plan = config.memory_plan()?;
    println!("the configuration is good");
    println!("  node {} with its data in {}", config.node.id, config.node.data_dir().display());
    println!("  memory {} of which {} hot, {} for queries", plan.root, plan.hot, plan.query);
    Ok(())
}

/// Prints the settings in force.
pub(crate) fn print(settings: &SettingArguments) -> Result<(), Failure> {
    let config = load(settings)?;
    print!("{}", toml::to_string(&config).map_err(Failure::fatal)?);
    Ok(())
}

/// The settings in force, checked.
pub(crate) fn load(settings: &SettingArguments) -> Result<Config, Failure> {
    load_from(&settings.layers())
}

/// The same of layers that may be read more than once.
pub(crate) fn load_from(layers: &Layers) -> Result<Config, Failure> {
    let config = layers.load()?;
    logs::check_filter(&config.telemetry.level)?;
    Ok(config)
}
