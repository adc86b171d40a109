use std::sync::Arc;

use minicol_extension_simulator::{Simulator, SimulatorConfig};
use minicol_plugin::{Environment, SeededRandom, SystemClock, net::SystemNetwork};

/// The machine's clocks and network.
pub fn machine() -> Environment {
    Environment {
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SeededRandom::from_machine()),
        network: Arc::new(SystemNetwork),
    }
}

/// A simulated Session-Buddy on a port of the loopback.
pub async fn simulator(port: u16, config: SimulatorConfig) -> Simulator {
    let config = SimulatorConfig { endpoint: format!("127.0.0.1:{port}"), ..config };
    Simulator::start(config, &machine()).await.expect("the simulator starts")
}
