/** What a metric is, under the name that Prometheus shows without its suffix. */
export interface MetricSpec {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** UCUM unit. */
  readonly unit: string;
  readonly description: string;
  /** Labels, all bounded: never an id. */
  readonly labels: readonly string[];
  /** The service that has it. */
  readonly from: string;
}

/** Every metric of the platform. Counters get `_total` in the Prometheus text. */
export const METRICS = {
  tasksEnqueued: {
    name: 'jetlane_tasks_enqueued',
    type: 'counter',
    unit: '{task}',
    description: 'Tasks that the gateway stored',
    labels: ['queue', 'lane'],
    from: 'gateway',
  },
  tasksProcessed: {
    name: 'jetlane_tasks_processed',
    type: 'counter',
    unit: '{task}',
    description: 'Handler runs by outcome, over all workers',
    labels: ['queue', 'lane', 'outcome'],
    from: 'analytics',
  },
  taskWait: {
    name: 'jetlane_task_wait_seconds',
    type: 'histogram',
    unit: 's',
    description: 'Time from stored to started, over all workers',
    labels: ['queue', 'lane'],
    from: 'analytics',
  },
  taskRun: {
    name: 'jetlane_task_run_seconds',
    type: 'histogram',
    unit: 's',
    description: 'Time from started to finished, over all workers',
    labels: ['queue', 'lane'],
    from: 'analytics',
  },
  workerTasks: {
    name: 'jetlane_worker_tasks',
    type: 'counter',
    unit: '{task}',
    description: 'Handler runs by outcome, of the workers of this process',
    labels: ['queue', 'lane', 'outcome'],
    from: 'worker',
  },
  taskHop: {
    name: 'jetlane_task_hop_seconds',
    type: 'histogram',
    unit: 's',
    description: 'Length of each hop of the runs of this process',
    labels: ['queue', 'lane', 'hop'],
    from: 'worker',
  },
  workers: {
    name: 'jetlane_workers',
    type: 'gauge',
    unit: '{worker}',
    description: 'Workers whose heartbeat is fresh',
    labels: ['queue'],
    from: 'analytics',
  },
  workerSlots: {
    name: 'jetlane_worker_slots',
    type: 'gauge',
    unit: '{slot}',
    description: 'Slots of the live workers',
    labels: ['queue'],
    from: 'analytics',
  },
  workerBusy: {
    name: 'jetlane_worker_busy',
    type: 'gauge',
    unit: '{slot}',
    description: 'Slots of the live workers that run a handler',
    labels: ['queue'],
    from: 'analytics',
  },
  queueDepth: {
    name: 'jetlane_queue_depth',
    type: 'gauge',
    unit: '{task}',
    description: 'Tasks in a lane, delivered ones included',
    labels: ['queue', 'lane'],
    from: 'queue-manager',
  },
  queueAckPending: {
    name: 'jetlane_queue_ack_pending',
    type: 'gauge',
    unit: '{task}',
    description: 'Tasks delivered and not yet settled',
    labels: ['queue', 'lane'],
    from: 'queue-manager',
  },
  queueOldestAge: {
    name: 'jetlane_queue_oldest_age_seconds',
    type: 'gauge',
    unit: 's',
    description: 'Age of the oldest task of a lane',
    labels: ['queue', 'lane'],
    from: 'queue-manager',
  },
  searchPending: {
    name: 'jetlane_search_pending',
    type: 'gauge',
    unit: '{record}',
    description: 'Records that the projection of finished tasks has not taken in; missing where it is off',
    labels: [],
    from: 'queue-manager',
  },
  searchLag: {
    name: 'jetlane_search_lag_seconds',
    type: 'gauge',
    unit: 's',
    description: 'How long ago the projection of finished tasks had seen all that there was',
    labels: [],
    from: 'queue-manager',
  },
  schedulerMoved: {
    name: 'jetlane_scheduler_moved',
    type: 'counter',
    unit: '{task}',
    description: 'Due tasks moved into their lane',
    labels: ['queue'],
    from: 'scheduler',
  },
  deadLetters: {
    name: 'jetlane_dead_letters',
    type: 'counter',
    unit: '{task}',
    description: 'Tasks that became dead letters',
    labels: ['queue', 'reason'],
    from: 'resiliency',
  },
  deadLettersStored: {
    name: 'jetlane_dead_letters_stored',
    type: 'gauge',
    unit: '{task}',
    description: 'Dead letters that wait for a redrive or discard',
    labels: [],
    from: 'resiliency',
  },
  deadLettersBytes: {
    name: 'jetlane_dead_letters_stored_bytes',
    type: 'gauge',
    unit: 'By',
    description: 'What they take on disk, of DEAD_LETTERS_MAX_BYTES',
    labels: [],
    from: 'resiliency',
  },
  deadLettersOldestAge: {
    name: 'jetlane_dead_letters_oldest_age_seconds',
    type: 'gauge',
    unit: 's',
    description: 'Age of the oldest of them',
    labels: [],
    from: 'resiliency',
  },
  natsReconnects: {
    name: 'jetlane_nats_reconnects',
    type: 'counter',
    unit: '{reconnect}',
    description: 'Reconnects to NATS',
    labels: [],
    from: 'every service',
  },
  natsConnected: {
    name: 'jetlane_nats_connected',
    type: 'gauge',
    unit: '1',
    description: '1 while the link to NATS is up',
    labels: [],
    from: 'every service',
  },
  httpDuration: {
    name: 'http_server_request_duration_seconds',
    type: 'histogram',
    unit: 's',
    description: 'Duration of HTTP requests',
    labels: ['http.request.method', 'http.route', 'http.response.status_code'],
    from: 'every service',
  },
  eventLoopLag: {
    name: 'nodejs_eventloop_lag_seconds',
    type: 'gauge',
    unit: 's',
    description: 'Longest delay of the event loop since the last scrape',
    labels: [],
    from: 'every service',
  },
  residentMemory: {
    name: 'process_resident_memory_bytes',
    type: 'gauge',
    unit: 'By',
    description: 'Resident memory',
    labels: [],
    from: 'every service',
  },
  heapUsed: {
    name: 'nodejs_heap_size_used_bytes',
    type: 'gauge',
    unit: 'By',
    description: 'Heap in use',
    labels: [],
    from: 'every service',
  },
  cpuSeconds: {
    name: 'process_cpu_seconds',
    type: 'counter',
    unit: 's',
    description: 'CPU time, user and system',
    labels: [],
    from: 'every service',
  },
} as const satisfies Record<string, MetricSpec>;

/** Bucket bounds in seconds for times of tasks and requests: 1 ms to 5 min. */
export const TIME_BUCKETS: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
