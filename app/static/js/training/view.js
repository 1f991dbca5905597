export class TrainingView { constructor(root) { root.textContent = ""; } }
