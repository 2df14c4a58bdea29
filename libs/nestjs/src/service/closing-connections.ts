import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { Server as TlsServer } from 'node:tls';
import type { FastifyInstance } from 'fastify';

/** Connections that are gone are forgotten this often, ms. */
const FORGET_MS = 10_000;

/** While the server closes, connections whose request was answered are ended this often, ms. */
const REAP_MS = 50;

/**
 * Ends the connections on which nothing is under way when the server closes; Node does so only with those that rest at that moment. One
 * whose request is answered later would rest for its whole keep-alive time. One that never sent a request (browsers and load balancers open
 * them ahead of need) would be waited for until its first headers, or its TLS handshake, are late: longer than a service may take to stop.
 * The latter are kept in a set of their own, since a listener for the end of every connection costs each of them.
 */
export function endRestingConnections(fastify: FastifyInstance): void {
  const server = fastify.server as Server;
  // Requests over TLS come on a socket around the one that was accepted; both have the same peer.
  const peerOf = (socket: Socket): unknown => (server instanceof TlsServer ? `${socket.remoteAddress} ${socket.remotePort}` : socket);
  const silent = new Map<unknown, Socket>();
  server.on('connection', (socket: Socket) => void silent.set(peerOf(socket), socket));
  server.on('request', ({ socket }) => void silent.delete(peerOf(socket)));
  const forget = setInterval(() => {
    for (const [peer, { destroyed }] of silent) if (destroyed) silent.delete(peer);
  }, FORGET_MS).unref();
  fastify.addHook('preClose', (done) => {
    clearInterval(forget);
    // From now on nobody is accepted who would have to wait here.
    server.on('connection', (socket: Socket) => socket.destroy());
    for (const socket of silent.values()) socket.destroy();
    const reap = setInterval(() => server.closeIdleConnections(), REAP_MS);
    server.once('close', () => clearInterval(reap));
    done();
  });
}
