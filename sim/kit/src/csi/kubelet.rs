//! Registration with the kubelet: a socket in its plugin folder, on which the kubelet asks who is there.
use tonic::{Request, Response, Status};

use super::proto::registration::{
    InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
    registration_server::Registration,
};

/// What the kubelet is told about one driver.
pub struct RegistrationService {
    /// The driver's name.
    pub name: String,
    /// The driver's socket, as the kubelet sees it.
    pub endpoint: String,
}

#[tonic::async_trait]
impl Registration for RegistrationService {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: "CSIPlugin".to_owned(),
            name: self.name.clone(),
            endpoint: self.endpoint.clone(),
            supported_versions: vec!["1.0.0".to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = request.into_inner();
        if status.plugin_registered {
            tracing::info!(driver = self.name, "registered with the kubelet");
        } else {
            tracing::error!(
                driver = self.name,
                error = status.error,
                "the kubelet refused the driver; it will ask again"
            );
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}
