//! The agent's process.
use std::time::Duration;
fn main() {
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).init();
    let mut kernel = agent::kernel::Kernel::load().unwrap_or_else(|e| {
        eprintln!("{e}");
        std::process::exit(69)
    });
    println!("{} {:?}", kernel.description(), kernel.program_statistics());
    for t in 0..1000 {
        std::thread::sleep(Duration::from_millis(1000));
        let r = kernel.read(Duration::from_secs(t)).unwrap();
        println!("{:?}", r.failures);
        for p in r.processes {
            println!("{p:?}");
        }
    }
}
