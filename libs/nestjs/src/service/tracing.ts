import { context, propagation, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import type { ServiceConfig } from './config.js';

/**
 * Registers the tracing SDK when a collector is configured. Sampling and batching follow the OTEL_* variables of the
 * OpenTelemetry specification. Nothing is instrumented by itself: the spans are those that Jetlane makes.
 * @param activeSpans false: no span is ever the active one
 * @returns the way to stop, which sends what is left; `undefined` when there is no collector
 */
export function startTracing(config: Pick<ServiceConfig, 'name' | 'otlpEndpoint'>, activeSpans = true): (() => Promise<void>) | undefined {
  if (!config.otlpEndpoint) return undefined;
  const exporter = new OTLPTraceExporter({ url: `${config.otlpEndpoint.replace(/\/+$/, '')}/v1/traces` });
  const provider = new NodeTracerProvider({
    resource: defaultResource().merge(resourceFromAttributes({ 'service.name': `jetlane-${config.name}`, 'service.namespace': 'jetlane' })),
    spanProcessors: [new BatchSpanProcessor(exporter)],
  });
  // The default propagators are W3C Trace Context and Baggage; the context manager is AsyncLocalStorage's, which slows every promise.
  provider.register(activeSpans ? {} : { contextManager: null });
  return async () => {
    // Sends what is left, then makes room: a dead provider must not be found by who comes next.
    await provider.shutdown();
    for (const api of [trace, context, propagation]) api.disable();
  };
}
