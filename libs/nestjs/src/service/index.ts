export type { AnalyticsStats, LaneStats, OutcomeCounts, TimePercentiles, WindowStats } from './analytics-stats.js';
export { type CommandHandler, callCommand, callService, serveCommand, serveRegistered } from './commands.js';
export { assertCredentials, type Environment, isLoopback, type LogLevel, readServiceConfig, type ServiceConfig } from './config.js';
export { type Component, SERVICE_CONTEXT, type ServiceContext, type ServiceOptions } from './context.js';
export { type HealthCheck, HealthRegistry, type HealthReport } from './health-registry.js';
export { namesThisMachine } from './host-guard.js';
export { createLogger } from './logger.js';
export { type MetricsSource, ServiceMetrics } from './metrics.js';
export { type RunningService, runService, startService } from './run-service.js';
