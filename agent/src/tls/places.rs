//! All places of a file. PURE.

use std::collections::HashMap;
use std::ops::Range;

use crate::tls::arm64;
use crate::tls::elf::file::{Elf, Machine};
use crate::tls::elf::ranges::Functions;
use crate::tls::elf::symbols::{Symbol, Table};
use crate::tls::functions::{Function, GO_SERVER, KNOWN_BY, wanted};
use crate::tls::go;
use crate::tls::pieces::Pieces;
use crate::tls::place::{Kind, Place, Places, Wanted};
use crate::tls::trouble::{NotUnderstood, Why};
use crate::tls::x86::body::Body;
use crate::tls::x86::ends::ends;
use crate::tls::x86::entry::{Arguments, entry};
use crate::tls::x86::instructions::decode;

/// Addresses, and bytes up to where the stack pointer was at the function's first instruction.
type Spots = Vec<(u64, u32)>;

/// Where probes belong in this file.
pub fn places(file: &dyn Pieces, wanted: Wanted) -> Result<Places, NotUnderstood> {
    let found = Elf::parse(file).and_then(|elf| found(&elf, wanted));
    found.map_err(|trouble| if file.is_exhausted() { NotUnderstood::TooLarge } else { trouble })
}

fn found(elf: &Elf<'_>, asked: Wanted) -> Result<Places, NotUnderstood> {
    let names: Vec<_> = KNOWN_BY.map(|(_, name)| name).to_vec();
    for table in [Table::Exported, Table::All] {
        let known = elf.defined(table, &names);
        if let Some((kind, _)) = KNOWN_BY.into_iter().find(|(_, name)| known.contains_key(name)) {
            let names: Vec<_> = wanted(kind, asked).map(|function| function.name).collect();
            return native(elf, (kind, asked), &elf.defined(table, &names));
        }
    }
    if !go::is_go(elf) {
        return Err(NotUnderstood::NoTls);
    }
    if !asked.go {
        return Err(NotUnderstood::NotAskedFor);
    }
    let names: Vec<_> = wanted(Kind::Go, asked).map(|function| function.name).collect();
    let ranges = go::functions(elf, &names)?;
    if !ranges.contains_key(GO_SERVER) {
        return Err(NotUnderstood::NoTls);
    }
    join(elf, (Kind::Go, asked), |function| ranges.get(function.name).map(|range| of_go(elf, function, range)))
}

fn native(elf: &Elf<'_>, what: (Kind, Wanted), symbols: &HashMap<&str, Symbol>) -> Result<Places, NotUnderstood> {
    let functions = Functions::of(elf);
    join(elf, what, |function| {
        symbols.get(function.name).map(|symbol| match elf.machine() {
            Machine::X86 => of_x86(&functions, function, *symbol),
            Machine::Arm64 => of_arm64(&functions, function, *symbol),
        })
    })
}

/// What a function's entry and its ends are, for each that is wanted.
fn join(
    elf: &Elf<'_>,
    (kind, asked): (Kind, Wanted),
    spots: impl Fn(&'static Function) -> Option<Result<(Spots, Spots), Why>>,
) -> Result<Places, NotUnderstood> {
    let (mut all, mut unanswered) = (Vec::new(), None);
    for function in wanted(kind, asked) {
        let spots = match spots(function) {
            Some(spots) => spots,
            None if function.is_required => Err(Why::Missing),
            None => continue,
        };
        let (entries, ends) = match spots {
            Ok(spots) => spots,
            // Requests are counted all the same.
            Err(why) if function.entry.is_write() => {
                unanswered = unanswered.or(Some(why.of(function.name)));
                continue;
            }
            Err(why) => return Err(why.of(function.name)),
        };
        let entries = entries.into_iter().map(|spot| (spot, function.entry));
        let ends = ends.into_iter().filter_map(|spot| Some((spot, function.end?)));
        for ((address, depth), action) in entries.chain(ends) {
            let offset = elf.code_offset(address).ok_or_else(|| Why::NoRange.of(function.name))?;
            all.push(Place { offset, action, depth });
        }
    }
    let places = Places::new(kind, all);
    Ok(match unanswered {
        Some(why) => places.without_writes(why),
        None => places,
    })
}

fn of_x86(functions: &Functions<'_>, function: &Function, symbol: Symbol) -> Result<(Spots, Spots), Why> {
    let (range, code) = functions.code(symbol.address)?;
    let code = code.get((symbol.address - range.start) as usize..).ok_or(Why::NoRange)?;
    let entry = entry(&decode(code, symbol.address)?, &Arguments::System(function.arguments)).ok_or(Why::NoRange)?;
    let ends = match function.end {
        Some(_) => ends(functions, &Body::of(functions, symbol.address)?)?,
        None => Vec::new(),
    };
    Ok((vec![entry], ends))
}

fn of_arm64(functions: &Functions<'_>, function: &Function, symbol: Symbol) -> Result<(Spots, Spots), Why> {
    let (range, code) = functions.code(symbol.address)?;
    let code = code.get((symbol.address - range.start) as usize..).ok_or(Why::NoRange)?;
    let entry = arm64::entry(code, symbol.address).ok_or(Why::NoRange)?;
    let ends = if function.end.is_some() { arm64::ends(functions, symbol.address)? } else { Vec::new() };
    Ok((vec![(entry, 0)], ends.into_iter().map(|end| (end, 0)).collect()))
}

/// Go hands over to nobody by jumps, and calls are known by goroutines, not by stacks.
fn of_go(elf: &Elf<'_>, function: &Function, range: &Range<u64>) -> Result<(Spots, Spots), Why> {
    let code = elf.code(range.start, range.end.saturating_sub(range.start)).ok_or(Why::NoRange)?;
    let (entry, ends) = match elf.machine() {
        Machine::X86 => {
            let code = decode(code, range.start)?;
            let returns = code.iter().filter(|i| i.flow_control() == iced_x86::FlowControl::Return);
            (entry(&code, &Arguments::Go).map(|(entry, _)| entry), returns.map(|i| i.ip()).collect())
        }
        Machine::Arm64 => (arm64::entry(code, range.start), arm64::returns(code, range.start)),
    };
    if function.end.is_some() && ends.is_empty() {
        return Err(Why::NoEnd);
    }
    let spots = |addresses: Vec<u64>| addresses.into_iter().map(|address| (address, 0)).collect();
    Ok((vec![(entry.ok_or(Why::NoRange)?, 0)], spots(ends)))
}
