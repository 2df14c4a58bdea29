export { getHealthToken, InjectJetlaneHealth, JetlaneHealthModule } from './health.module.js';
export { type BacklogOptions, JetlaneHealthIndicator } from './indicator.js';
