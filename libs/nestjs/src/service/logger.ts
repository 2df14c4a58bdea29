import type { LoggerService } from '@nestjs/common';
import { type DestinationStream, destination, type Logger, pino, stdTimeFunctions } from 'pino';
import pretty from 'pino-pretty';
import type { ServiceConfig } from './config.js';

/** Paths whose values never reach a log. */
const SECRETS = [
  'password',
  'token',
  'apiKey',
  'authorization',
  '*.password',
  '*.token',
  '*.authorization',
  'headers.authorization',
  'headers["x-api-key"]',
];

/**
 * The service's logger. JSON lines on standard output, written without blocking (many lines share a write under load) and
 * flushed when the process ends; readable lines with `pretty`. The message is the event's name, `noun:verb`.
 */
export function createLogger(config: Pick<ServiceConfig, 'name' | 'logLevel' | 'logFormat'>): Logger {
  const options = {
    level: config.logLevel,
    base: { service: config.name },
    timestamp: stdTimeFunctions.isoTime,
    redact: { paths: SECRETS, censor: '[hidden]' },
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return pino(options, config.logFormat === 'pretty' ? prettyStream() : jsonStream());
}

type JsonStream = ReturnType<typeof destination>;
const streams = new Set<JsonStream>();

function jsonStream(): DestinationStream {
  if (streams.size === 0) process.once('exit', flush);
  const stream = destination({ dest: 1, sync: false });
  streams.add(stream);
  return stream;
}

function flush(): void {
  for (const stream of streams) {
    try {
      stream.flushSync();
    } catch {
      // Standard output is gone: nobody reads any more.
    }
  }
}

function prettyStream(): DestinationStream {
  const color = Boolean(process.stdout.isTTY) && !noColor();
  return pretty({
    colorize: color,
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: 'pid,hostname,service',
    singleLine: true,
    messageFormat: '{service} {msg}',
    sync: true,
  });
}

const noColor = (): boolean => !process.stdout.hasColors?.();

/** Nest's own messages, through the same logger. What Nest tells about its start (modules, routes) is for debugging only. */
export class NestLogger implements LoggerService {
  private static readonly chatter = new Set([
    'NestFactory',
    'InstanceLoader',
    'RoutesResolver',
    'RouterExplorer',
    'NestApplication',
    'TerminusModule',
  ]);

  constructor(private readonly logger: Logger) {}

  log(message: unknown, ...rest: unknown[]): void {
    this.write(NestLogger.chatter.has(contextOf(rest)) ? 'debug' : 'info', message, rest);
  }

  error(message: unknown, ...rest: unknown[]): void {
    this.write('error', message, rest);
  }

  warn(message: unknown, ...rest: unknown[]): void {
    this.write('warn', message, rest);
  }

  debug(message: unknown, ...rest: unknown[]): void {
    this.write('debug', message, rest);
  }

  verbose(message: unknown, ...rest: unknown[]): void {
    this.write('trace', message, rest);
  }

  fatal(message: unknown, ...rest: unknown[]): void {
    this.write('fatal', message, rest);
  }

  private write(level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal', message: unknown, rest: unknown[]): void {
    const [first] = rest;
    const err = message instanceof Error ? { err: message } : rest.length > 1 && typeof first === 'string' ? { stack: first } : {};
    const text = message instanceof Error ? message.message : typeof message === 'string' ? message : JSON.stringify(message);
    this.logger[level]({ context: contextOf(rest), text, ...err }, 'nest:message');
  }
}

/** Nest passes the context (the class that speaks) last. */
function contextOf(rest: unknown[]): string {
  const last = rest.at(-1);
  return typeof last === 'string' ? last : '';
}
