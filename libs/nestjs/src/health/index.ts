export { getHealthToken, type HealthModuleOptions, InjectJetlaneHealth, JetlaneHealthModule } from './health.module.js';
export { type BacklogOptions, JetlaneHealthIndicator } from './indicator.js';
