"""Ask several models at once, then have one more write the report: the cells of a notebook."""

# %%
from concurrent.futures import ThreadPoolExecutor

from openai import OpenAI

client = OpenAI()
QUESTION = "What should a small museum show?"
MODELS = ["alpha", "beta", "gamma", "delta"]


# %%
def run_llm(prompt, model, system=None):
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": prompt})
    return client.chat.completions.create(model=model, messages=messages, temperature=0.7).choices[0].message.content


def draft_of(model):
    return run_llm(QUESTION, model)


# %%
with ThreadPoolExecutor(max_workers=4) as pool:
    drafts = list(pool.map(draft_of, MODELS))
for model, draft in zip(MODELS, drafts, strict=True):
    print(f"{model}: {draft}")

# %%
joined = "\n".join(f"{place}. {draft}" for place, draft in enumerate(drafts, 1))
final = run_llm(
    f"The question: {QUESTION}\n\nProposals:\n{joined}", "omega", system="Write one report of the proposals."
)
print(final)
