/** What a worker may hold beyond its slots: 8 for each lane but one. */
export const SURPLUS = 24;
