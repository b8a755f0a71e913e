import { defineConfig } from 'vite';

// Built into the Python package: the wheel holds GraphiQL, and nothing is fetched from elsewhere.
export default defineConfig({
  base: '/graphiql/',
  build: {
    outDir: '../src/tycostream/transports/ui/graphiql',
    emptyOutDir: true,
    chunkSizeWarningLimit: 8000,
    target: 'es2022',
  },
  worker: { format: 'es' },
});
