import { defineConfig } from 'vite';

export default defineConfig({
  base: '/',
  // No inline code of any kind: the content security policy of the gateway allows files only.
  build: { outDir: 'dist', emptyOutDir: true, assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: 'es2022' },
  server: { proxy: { '/api': 'http://127.0.0.1:3000', '/docs': 'http://127.0.0.1:3000' } },
});
