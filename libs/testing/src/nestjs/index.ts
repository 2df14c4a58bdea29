export { type Container, type DrainOptions, JetlaneTestKit, jetlaneKit, type RunOptions, type TaskEnd } from './kit.js';
export { findLeaks } from './leaks.js';
export { type ExpectedTask, type JetlaneMatchers, jetlaneMatchers } from './matchers.js';
export { jetlaneTestOptions, stopTestServer, testServer } from './test-server.js';
export { JetlaneTestingModule, overrideJetlane, overrideQueue, type ProviderOverrides, withoutWorkers } from './testing.module.js';
export type { WaitingTask } from './waiting-tasks.js';
