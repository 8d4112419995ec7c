/** Says in words why MongoDB refused a document (error 121): one line for each reason, without any value of the document. */
export function reasons(errInfo: object): string[];
