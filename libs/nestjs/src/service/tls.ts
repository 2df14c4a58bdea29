import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import { createSecureContext, Server as TlsServer } from 'node:tls';
import { JetlaneError } from '@jetlane/protocol';
import type { Logger } from 'pino';
import type { FileWatch } from './watch-files.js';

/** Where the certificate of an HTTP server is. Both files are read again when they change. */
export interface TlsFiles {
  /** PEM: the certificate, then those of its issuers. */
  readonly certFile: string;
  /** PEM, without a passphrase. */
  readonly keyFile: string;
}

/** What the server takes. */
export interface TlsMaterial {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly minVersion: 'TLSv1.2';
}

/**
 * Reads certificate and key and checks that they belong together.
 * @throws JetlaneError `invalid-configuration`
 */
export function readTls({ certFile, keyFile }: TlsFiles): TlsMaterial {
  try {
    const material = { cert: readFileSync(certFile), key: readFileSync(keyFile), minVersion: 'TLSv1.2' } as const;
    createSecureContext(material);
    return material;
  } catch (error) {
    throw new JetlaneError(
      'invalid-configuration',
      `certificate ${certFile} and key ${keyFile} cannot be used: ${(error as Error).message}`,
      {
        cause: error,
      },
    );
  }
}

/**
 * Gives a server its new certificate when the files change; connections that are open keep theirs. Files that do not fit each
 * other (one of the two is written already) leave the old certificate in place until they do.
 */
export function reloadTls(server: Server, files: TlsFiles, watch: FileWatch, logger: Pick<Logger, 'info' | 'warn'>): void {
  if (!(server instanceof TlsServer)) return;
  watch.start(() => {
    try {
      server.setSecureContext(readTls(files));
      logger.info({ certificate: files.certFile }, 'tls:reloaded');
    } catch (error) {
      logger.warn({ reason: (error as Error).message }, 'tls:reload-failed');
    }
  });
}
