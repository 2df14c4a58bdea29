/** How the page stands to the gateway. */
export type Pulse = 'live' | 'lost' | 'still';

/** A view of the application. */
export interface Page {
  readonly title: string;
  readonly element: HTMLElement;
  /** Time between refreshes, in ms. */
  readonly intervalMs: number;
  /** Fetches and shows. `still`: nothing will change any more. Never throws. */
  refresh(): Promise<Pulse>;
}
