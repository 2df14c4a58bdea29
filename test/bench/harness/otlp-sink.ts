import { createServer } from 'node:http';

/** A collector that takes spans and forgets them. */
export interface Sink {
  url: string;
  /** Requests taken so far. */
  readonly requests: number;
  stop(): Promise<void>;
}

/** Starts a collector on a free port. */
export async function startSink(): Promise<Sink> {
  let requests = 0;
  const server = createServer((request, response) => {
    requests += 1;
    request.resume();
    request.once('end', () => response.setHeader('content-type', 'application/json').end('{}'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    get requests() {
      return requests;
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
