"""Best of three: the same model drafts three times, and rates the drafts in another request; the best one is returned."""

from openai import OpenAI


def drafts_of(client, question, count=3):
    messages = [{"role": "system", "content": "You are a poet."}, {"role": "user", "content": question}]
    replies = [
        client.chat.completions.create(model="drafter", messages=messages, temperature=1.0, seed=number)
        for number in range(count)
    ]
    return [reply.choices[0].message.content for reply in replies], sum(r.usage.completion_tokens for r in replies)


def judge(client, question, drafts):
    shown = "\n".join(f"Candidate {place}: {text}" for place, text in enumerate(drafts, 1))
    reply = client.chat.completions.create(
        model="drafter",
        messages=[{"role": "user", "content": f"{question}\n\n{shown}\n\nReply with the number of the best one only."}],
    )
    return int(reply.choices[0].message.content.strip()) - 1, reply.usage.completion_tokens


def best_of(question):
    client = OpenAI()
    drafts, spent = drafts_of(client, question)
    place, more = judge(client, question, drafts)
    return drafts[place], spent + more


def main():
    text, tokens = best_of("Write one line about fog.")
    print(text, tokens)
