export const GEOMETRY = {};
