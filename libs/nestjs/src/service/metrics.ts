import { SCOPE } from '@jetlane/telemetry';
import { type Meter, metrics } from '@opentelemetry/api';
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { MeterProvider } from '@opentelemetry/sdk-metrics';

/** Text in Prometheus's format, for what the metrics API cannot express (histograms that were counted elsewhere). */
export type MetricsSource = () => string | Promise<string>;

/** The service's metrics: OpenTelemetry instruments, shown as Prometheus text at `/metrics`. */
export class ServiceMetrics {
  readonly meter: Meter;
  private readonly exporter = new PrometheusExporter({ preventServerStart: true });
  private readonly serializer = new PrometheusSerializer(undefined, false, undefined, false, true);
  private readonly provider: MeterProvider;
  private readonly sources = new Set<MetricsSource>();

  constructor(service: string) {
    this.provider = new MeterProvider({
      resource: resourceFromAttributes({ 'service.name': `jetlane-${service}` }),
      readers: [this.exporter],
    });
    this.meter = this.provider.getMeter(SCOPE);
    // Libraries find the provider through the API. A second service in one process keeps its own meter only.
    metrics.setGlobalMeterProvider(this.provider);
  }

  /** Adds lines of Prometheus text to the page. Returns the way to remove them. */
  add(source: MetricsSource): () => void {
    this.sources.add(source);
    return () => this.sources.delete(source);
  }

  /** The page. */
  async render(): Promise<string> {
    const { resourceMetrics } = await this.exporter.collect();
    const texts = await Promise.all([this.serializer.serialize(resourceMetrics), ...[...this.sources].map((source) => source())]);
    return `${texts
      .map((text) => text.trimEnd())
      .filter(Boolean)
      .join('\n')}\n`;
  }

  /** Ends the provider; libraries find none from then on. */
  async stop(): Promise<void> {
    metrics.disable();
    await this.provider.shutdown();
  }
}
