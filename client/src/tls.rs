//! TLS by rustls: whom to trust. Nothing else knows about certificates.

use std::sync::{Arc, LazyLock};

use rustls::{ClientConfig, RootCertStore};

/// Trusts the certificate authorities that browsers trust. Made once: the list is long.
pub(crate) fn config() -> Arc<ClientConfig> {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        // Named, since the process may have a default provider of another kind, or none.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring supports TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    });
    CONFIG.clone()
}
