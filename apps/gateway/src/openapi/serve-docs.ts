import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { SwaggerModule } from '@nestjs/swagger';
import type { ApiRoute } from '../routes/route.js';
import { openApiDocument } from './document.js';

/** Swagger UI at `/docs`, the document at `/docs-json`. All files come from here: it works offline. */
export function serveDocs(app: NestFastifyApplication, routes: readonly ApiRoute[], needsKey: boolean): void {
  SwaggerModule.setup('docs', app, openApiDocument(routes, needsKey), {
    jsonDocumentUrl: 'docs-json',
    raw: ['json'],
    customSiteTitle: 'Jetlane API',
    customfavIcon: '/favicon.svg',
    customCss: '.swagger-ui .topbar { display: none }',
    swaggerOptions: { validatorUrl: null, displayRequestDuration: true, tryItOutEnabled: true },
  });
}
