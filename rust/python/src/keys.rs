//! Keys, cluster ids and addresses, from the text that configurations have.

use std::net::{SocketAddr, ToSocketAddrs};

use pssmr_types::{ClusterId, FaultModel, Member, PublicKey, ReplicaId, SecretKey};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// A new Ed25519 key pair: the private key in PKCS#8 PEM form, and the public key in hexadecimal.
#[pyfunction]
pub(crate) fn generate_key() -> PyResult<(String, String)> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| PyValueError::new_err(format!("no random numbers: {error}")))?;
    let secret = SecretKey::from_seed(seed);
    Ok((secret.to_pem(), secret.public().to_string()))
}

/// The public key, in hexadecimal, of a private key in PKCS#8 PEM form.
///
/// Raises ValueError if the text is no such key.
#[pyfunction]
pub(crate) fn public_key(pem: &str) -> PyResult<String> {
    Ok(secret_key(pem)?.public().to_string())
}

pub(crate) fn secret_key(pem: &str) -> PyResult<SecretKey> {
    SecretKey::from_pem(pem).map_err(|error| PyValueError::new_err(error.to_string()))
}

pub(crate) fn public_key_of(hexadecimal: &str) -> PyResult<PublicKey> {
    PublicKey::from_hex(hexadecimal).map_err(|error| PyValueError::new_err(format!("{hexadecimal:?}: {error}")))
}

/// A replica: id, public key, address for replicas and for clients.
pub(crate) fn member((id, key, peer_address, client_address): (u16, String, String, String)) -> PyResult<Member> {
    Ok(Member { id: ReplicaId(id), key: public_key_of(&key)?, peer_address, client_address })
}

pub(crate) fn cluster_id(hexadecimal: &str) -> PyResult<ClusterId> {
    let number = u128::from_str_radix(hexadecimal, 16).ok().filter(|_| hexadecimal.len() == 32);
    let number = number.ok_or_else(|| PyValueError::new_err("a cluster's id is 32 hexadecimal digits"))?;
    Ok(ClusterId(number.to_be_bytes()))
}

pub(crate) fn fault_model(name: &str) -> PyResult<FaultModel> {
    [FaultModel::Byzantine, FaultModel::Crash]
        .into_iter()
        .find(|model| model.as_str() == name)
        .ok_or_else(|| PyValueError::new_err(format!("{name:?} is no fault model: bft or cft")))
}

/// The address to listen at. A host's name is looked up, which can take long: call it detached.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| format!("{text}: {error}"))?;
    found.next().ok_or_else(|| format!("{text}: the name has no address"))
}
