import type { JetlaneOptions } from '@jetlane/nestjs';
import { JetStreamClient, JetStreamContext, JetStreamServer } from '@jetlane/nestjs/transport';
import { Controller, Inject, Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ClientsModule, Ctx, EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { firstValueFrom, lastValueFrom } from 'rxjs';

interface Order {
  readonly id: number;
  readonly total: number;
}

/** Two services: orders emits events and asks questions, billing reads and answers. */
export async function main(log: (line: string) => void = console.log, options: JetlaneOptions = {}): Promise<void> {
  let invoiced: () => void = () => undefined;
  const done = new Promise<void>((resolve) => {
    invoiced = resolve;
  });

  @Controller()
  class Billing {
    // Durable: what is emitted while billing is away waits for it. What fails is tried again, then kept as a dead event.
    @EventPattern<string>('orders.*', { retry: { attempts: 5, initialDelay: '20ms' } })
    invoice(@Payload() { id, total }: Order, @Ctx() context: JetStreamContext) {
      if (context.getAttempt() === 1) throw new Error('the printer is jammed');
      log(`${context.getSubject()}: invoice for order ${id} over ${total}, attempt ${context.getAttempt()}`);
      invoiced();
    }

    @MessagePattern('billing.credit')
    credit(@Payload() { customer }: { customer: string }) {
      if (customer !== 'ada') throw new Error(`customer "${customer}" has no account`);
      return 100;
    }
  }

  @Module({ controllers: [Billing] })
  class BillingModule {}
  const strategy = new JetStreamServer({ ...options, service: 'billing' });
  const billing = await NestFactory.createMicroservice(BillingModule, { strategy, logger: false });
  await billing.listen();

  @Injectable()
  class Orders {
    constructor(@Inject('BUS') private readonly bus: JetStreamClient) {}

    async place(customer: string, order: Order) {
      const credit = await firstValueFrom(this.bus.send<number>('billing.credit', { customer }));
      if (credit < order.total) return;
      await lastValueFrom(this.bus.emit('orders.created', order));
      log('stored');
    }
  }

  @Module({ imports: [ClientsModule.register([{ name: 'BUS', customClass: JetStreamClient, options }])], providers: [Orders] })
  class OrdersModule {}
  const orders = await NestFactory.createApplicationContext(OrdersModule, { logger: false });
  await orders.get(Orders).place('ada', { id: 7, total: 30 });
  await orders
    .get(Orders)
    .place('bob', { id: 8, total: 30 })
    .catch((error: Error) => log(`refused: ${error.message}`));
  await done;
  await orders.close();
  await billing.close();
}
