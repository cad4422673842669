//! A gRPC server and client, both in Python, on gRPC's own C library.

use anyhow::Result;

use crate::process::{Missing, Tool, python_with};
use crate::programs::{Program, write};
use crate::session::Session;

pub fn calls(session: &mut Session, kind: &str) -> Result<()> {
    let python = python_with("grpc").ok_or_else(|| Missing("Python's module grpc".to_owned()))?;
    let server = write(session, "grpc_server.py", include_str!("programs/grpc_server.py"))?;
    let client = write(session, "grpc_client.py", include_str!("programs/grpc_client.py"))?;
    let program = Program::start(session, Tool::at("gRPC server", &python).arg(server))?;
    let calling = Tool::at("gRPC client", &python).arg(client).arg(program.port.to_string()).arg(kind);
    let calls = session.run(calling)?.trim().parse()?;
    session.sent(calls);
    program.finish(session)?;
    Ok(())
}
